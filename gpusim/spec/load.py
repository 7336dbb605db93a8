"""Finds, reads and validates GPU profiles and workload files, by name or by path."""

from functools import cache
from pathlib import Path
from typing import Any

from gpusim.errors import SpecError, excerpt, nearest, plain
from gpusim.spec.gpu import Gpu
from gpusim.spec.validate import validate
from gpusim.spec.workload import Workload
from gpusim.spec.yaml_file import read_mapping

#: Keys of a number in a profile, and how many profiles may extend one another.
LEAF = {"value", "kind", "source"}
MAX_BASES = 8

_PACKAGE = Path(__file__).resolve().parents[1]


def shipped(kind: str) -> dict[str, Path]:
    """Return the shipped files of a kind ('hardware' or 'workloads') by name."""
    folder = _PACKAGE / "_shipped" / kind
    if not folder.is_dir():  # a checkout, or an editable install of one
        folder = _PACKAGE.parent / kind
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find(name_or_path: str | Path, kind: str) -> Path:
    """Return the file for a shipped name or a path.

    Raises:
        SpecError: if there is neither; it names the nearest shipped name.
    """
    text, path = str(name_or_path), Path(name_or_path)
    known = shipped(kind)
    if text in known:
        return known[text]
    try:
        if path.is_file():
            return path
        found = "a folder" if path.is_dir() else "neither"
    except OSError as error:
        found = f"neither ({error.strerror})"
    what = "GPU" if kind == "hardware" else "workload"
    hint = nearest(path.stem, known) or f"; known: {', '.join(known)}"
    name = plain(text)
    raise SpecError(f"{name}: expected a {what} name or a file, found {found}{hint}")


def load_gpu(name_or_path: str | Path) -> Gpu:
    """Return the profile for a shipped GPU name or a file.

    Raises:
        SpecError: if there is no such profile, or a number in it is malformed or has no source.
    """
    known = shipped("hardware").get(str(name_or_path))
    return _shipped_gpu(known) if known else _gpu_from(find(name_or_path, "hardware"))


def load_workload(name_or_path: str | Path) -> Workload:
    """Return the workload for a shipped name or a file.

    Raises:
        SpecError: if the file is missing or does not validate.
    """
    path = find(name_or_path, "workloads")
    document = read_mapping(path)
    attention = document.get("attention")
    if isinstance(attention, dict) and "sequences" in attention:
        raise SpecError(f"{path}: attention.sequences: expected beside attention, found inside it")
    return validate(Workload, document, path)


@cache
def _shipped_gpu(path: Path) -> Gpu:
    return _gpu_from(path)


def _gpu_from(path: Path) -> Gpu:
    document = _extended(path, seen=())
    provenance: dict[str, Any] = {}
    try:
        values = _without_sources(document, "", provenance)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from error
    return validate(Gpu, values | {"provenance": provenance}, path)


def _extended(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """Return the file's mapping laid over the profile that it extends."""
    document = read_mapping(path)
    if "extends" not in document:
        return document
    name = document.pop("extends")
    if not isinstance(name, str):
        raise SpecError(f"{path}: extends: expected a GPU name or a file, found {excerpt(name)}")
    if "name" not in document:
        raise SpecError(f"{path}: name: expected a value, found none")
    seen = (*seen, path.resolve())
    try:
        base = find(path.parent / name if _beside(path, name) else name, "hardware")
    except SpecError as error:
        raise SpecError(f"{path}: extends: {error}") from error
    if base.resolve() in seen:
        raise SpecError(f"{path}: extends: expected another profile, found a circle to {name}")
    if len(seen) > MAX_BASES:
        raise SpecError(f"{path}: extends: expected at most {MAX_BASES} profiles in a row")
    return _merged(_extended(base, seen), document)


def _beside(path: Path, name: str) -> bool:
    try:
        return (path.parent / name).is_file()
    except OSError:
        return False


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Mappings merged key by key; a number replaces the base's together with kind and source."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        nested = isinstance(value, dict) and isinstance(old, dict) and not LEAF & value.keys()
        result[key] = _merged(old, value) if nested else value
    return result


def _without_sources(node: Any, where: str, provenance: dict[str, Any]) -> Any:
    """Split `{value, kind, source}` leaves into the value and `provenance[where]`."""
    if isinstance(node, dict) and LEAF & node.keys():
        _check_leaf(node, where)
        provenance[where] = {"kind": node["kind"], "source": node["source"]}
        return node["value"]
    if isinstance(node, dict):
        prefix = f"{where}." if where else ""
        return {k: _without_sources(v, f"{prefix}{k}", provenance) for k, v in node.items()}
    if isinstance(node, (int, float)):
        raise SpecError(f"{where}: expected {{value, kind, source}} or text, found {node!r}")
    return node


def _check_leaf(leaf: dict[str, Any], where: str) -> None:
    for key in leaf.keys() - LEAF:
        raise SpecError(f"{where}.{key}: expected value, kind and source{nearest(key, LEAF)}")
    for key in sorted(LEAF - leaf.keys()):
        raise SpecError(f"{where}.{key}: expected a value, found none")
    value = leaf["value"]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise SpecError(f"{where}.value: expected a number, found {excerpt(value)}")
