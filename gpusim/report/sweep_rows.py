"""Tables of a sweep's page, from its summary."""

from collections.abc import Mapping
from typing import Any

from gpusim.report.page_table import Column, Table, numbers, times, words
from gpusim.report.table import marked

Row = Mapping[str, Any]


def choice_name(choice: Mapping[str, str]) -> str:
    """A choice in a line: names of GPU and schedule by themselves, the rest with what it is of.

    >>> choice_name({"gpu": "l40s", "schedule": "lean", "gpu.l2.capacity_mib": "2 times"})
    'l40s, lean, gpu.l2.capacity_mib 2 times'
    """
    plain = ("gpu", "schedule")
    texts = [text if axis in plain else f"{axis} {text}" for axis, text in choice.items()]
    return ", ".join(texts) or "all points"


def choice_table(summary: Row) -> Table:
    """Every choice, the best on most problems first."""
    rows = summary["choices"]
    listed = "" if len(rows) == summary["choices_in_all"] else f", the first {len(rows)}"
    return Table(
        caption=f"Choices by problems that they are the fastest on, alone or with others{listed}",
        columns=(
            *(words(axis, (row["choice"][axis] for row in rows)) for axis in rows[0]["choice"]),
            numbers("problems", (row["problems"] for row in rows)),
            numbers("best on", (row["best_on"] for row in rows)),
            Column("/ best, mean", tuple(f"{row['over_best']:.2f}" for row in rows), right=True),
        ),
        best=frozenset({0}),
    )


def best_table(summary: Row) -> Table:
    """The fastest point of each problem, or of some of them."""
    rows, problems = summary["best"], summary["problems"]
    listed = "" if len(rows) == problems else f"; {len(rows)} of {problems:,}, evenly spread"
    axes = rows[0]["values"]
    return Table(
        caption=f"The fastest point of each problem, of equals the first{listed}",
        columns=(
            Column("index", tuple(str(row["index"]) for row in rows), right=True),
            *(words(axis, (_value(row, axis) for row in rows)) for axis in axes),
            times("time", (row["time_us"] for row in rows)),
            words("bound", (row["bound"] for row in rows)),
            numbers("useful", (row["tflops"] for row in rows), "TFLOP/s"),
            numbers("memory", (row["hbm_gb_per_s"] for row in rows), "GB/s"),
        ),
    )


def _value(row: Row, axis: str) -> str:
    text = str(row["values"][axis])
    return marked(text, row["approximation"]) if axis == "schedule" else text


def axis_table(axis: Row, *, folded: bool = False) -> Table:
    """Times along an axis; `folded` where a figure shows them."""
    rows, every = axis["values"], axis["values_in_all"]
    listed = "" if len(rows) == every else f"; {len(rows)} of {every:,} values"
    alike = axis["alike"]
    points = "one point" if alike == 1 else f"{alike:,} points"
    mean = f": the mean is of {points} at each value, alike in all else" if alike else ""
    return Table(
        caption=f"Time by {axis['axis']}{mean}{listed}",
        columns=(
            words(axis["axis"], (row["value"] for row in rows)),
            *((times("mean", (row["mean_us"] for row in rows)),) if alike else ()),
            times("fastest", (row["fastest_us"] for row in rows)),
            times("slowest", (row["slowest_us"] for row in rows)),
            numbers("points", (row["ran"] for row in rows)),
            numbers("without a result", (row["failed"] for row in rows)),
        ),
        folded=folded,
    )


def failed_table(failed: Row) -> Table:
    """Why points have no result."""
    return Table(
        caption="Points without a result, and why",
        columns=(
            words("reason", (row["reason"] for row in failed["reasons"]), wraps=True),
            numbers("points", (row["rows"] for row in failed["reasons"])),
        ),
    )
