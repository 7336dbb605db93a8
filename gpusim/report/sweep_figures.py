"""Figures of a sweep's page, from its summary."""

from collections.abc import Mapping, Sequence
from typing import Any

from gpusim.report.curve_figure import curve_figure
from gpusim.report.page_figure import Figure
from gpusim.report.sweep_rows import choice_name

Row = Mapping[str, Any]

#: From this ratio of the greatest to the least on, an axis is logarithmic.
WIDE = 20.0


def axis_figure(number: int, axis: str, curves: Sequence[Row]) -> Figure:
    """Mean time along an axis of numbers, a line for each of the best choices."""
    table = [
        {
            "metric": "mean time [\N{MICRO SIGN}s]",
            "configuration": choice_name(row["choice"]),
            "x": row["x"],
            "y": row["y"],
        }
        for row in curves
    ]
    return Figure(
        name=f"axis-{number}",
        svg=curve_figure(
            table,
            title="",
            form="svg",
            x_label=axis,
            log_x=_wide([row["x"] for row in table]),
            log_y=_wide([row["y"] for row in table]),
        ),
        caption=f"Mean time by {axis}, of the best choices. A line is of the points that are alike"
        " in all else and ran at every value; choices without such points have none.",
        alt=f"Mean time by {axis}, a line a choice; the table has the numbers.",
        rows=table,
    )


def _wide(values: Sequence[float]) -> bool:
    return min(values) > 0 and max(values) >= WIDE * min(values)
