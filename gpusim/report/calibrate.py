"""The tables of `gpusim calibrate`."""

from collections.abc import Mapping
from typing import Any

from gpusim.report.table import render, share, signed, table

_PARTS = {"fitted": "fitted", "held_back": "held back"}
_STATISTICS = {"median_ape": "median", "mean_ape": "mean", "p90_ape": "p90"}
_VERDICTS = {
    "determined": "determine it",
    "weakly": "determine it weakly",
    "not determined": "do not determine it: it stays",
}


def calibration_table(found: Mapping[str, Any]) -> str:
    """Constants before and after, errors of both parts, and what was left out."""
    constants = table(f"{found['gpu']}|>before|>after|>standard error|>bounds|the rows")
    for c in found["constants"]:
        stays = c["verdict"] == "not determined"
        constants.add_row(
            c["field"],
            f"{c['before']:g}",
            f"{c['after']:g}" if not stays or c["after"] != c["before"] else "",
            "" if stays else f"{100 * c['error']:.1f}%",
            f"{c['low']:g} to {c['high']:g}",
            _verdict(c),
        )
    names = "".join(f"|>{name} before|>after" for name in (*_STATISTICS.values(), "bias"))
    errors = table(f"error|>rows{names}")
    for part, name in _PARTS.items():
        before, after = (found["errors"][part][when] for when in ("before", "after"))
        cells = [share(when[key]) for key in _STATISTICS for when in (before, after)]
        biases = [signed(when["bias"]) for when in (before, after)]
        errors.add_row(name, str(after["rows"]), *cells, *biases)
    left_out = [f" {o['rows']:>6} rows: {o['reason']}\n" for o in found["left_out"]]
    tail = "".join([" Left out\n", *left_out]) if left_out else ""
    return f"{render(constants)}\n{render(errors)}{tail}"


def _verdict(constant: Mapping[str, Any]) -> str:
    """What the rows say of a constant."""
    said = _VERDICTS[constant["verdict"]]
    if constant["verdict"] == "not determined":
        follows = constant["after"] != constant["before"]
        return "do not determine it: it follows others" if follows else said
    ends = {constant["low"]: "least", constant["high"]: "greatest"}
    end = ends.get(constant["after"])
    return f"{said}, at its {end} value" if end else said
