"""Numbers as a profile writes them, `{value, kind, source}`: merged and taken apart.

A number that can be calibrated also has `nominal` (value, kind and source without calibration) and
`bounds`; see `gpusim.spec.provenance`.
"""

from typing import Any

from gpusim.errors import SpecError, excerpt, nearest, plain

LEAF = {"value", "kind", "source"}
#: What a leaf may have beside.
CALIBRATION = {"nominal", "bounds"}


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Mappings merged key by key; a number replaces the base's together with kind and source.

    A calibrated number, and an estimate that merely takes the base's value over, keep the base's
    `nominal` and `bounds` unless they have their own; any other stands for itself.
    """
    result = dict(base)
    for key, value in over.items():
        old = base.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and not LEAF & value.keys():
            result[key] = merged(old, value)
        elif isinstance(old, dict) and isinstance(value, dict) and _keeps_calibration(old, value):
            result[key] = {k: old[k] for k in CALIBRATION & old.keys()} | value
        else:
            result[key] = value
    return result


def _keeps_calibration(old: dict[str, Any], new: dict[str, Any]) -> bool:
    taken_over = new.get("kind") == "estimated" and new.get("value") == old.get("value")
    return taken_over or new.get("kind") == "calibrated"


def without_sources(node: Any, provenance: dict[str, Any], where: str = "") -> Any:
    """Split the numbers under `where` into value and `provenance[where]`.

    Raises:
        SpecError: path, what was expected and what was found, for a number without kind or source.
    """
    if isinstance(node, dict) and where and LEAF & node.keys():
        _check_leaf(node, where)
        provenance[where] = {key: node[key] for key in node if key != "value"}
        return node["value"]
    if isinstance(node, dict):
        prefix = f"{where}." if where else ""
        return {k: without_sources(v, provenance, f"{prefix}{k}") for k, v in node.items()}
    if isinstance(node, (int, float)):
        raise SpecError(f"{where}: expected {{value, kind, source}} or text, found {node!r}")
    return node


def _check_leaf(leaf: dict[str, Any], where: str) -> None:
    known = LEAF | CALIBRATION
    unknown, missing = sorted(leaf.keys() - known), sorted(LEAF - leaf.keys())
    if unknown:
        name, hint = plain(unknown[0]), nearest(unknown[0], known)
        raise SpecError(
            f"{where}.{name}: expected only value, kind and source, nominal and bounds{hint}"
        )
    if missing:
        raise SpecError(f"{where}.{missing[0]}: expected a value, found none")
    value = leaf["value"]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise SpecError(f"{where}.value: expected a number, found {excerpt(value)}")
