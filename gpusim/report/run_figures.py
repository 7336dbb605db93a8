"""Figures of runs for a page, by workload."""

from collections.abc import Mapping, Sequence
from typing import Any

from gpusim.report.breakdown_figure import breakdown_figure
from gpusim.report.page_figure import Figure
from gpusim.report.panels import Rows
from gpusim.report.roofline_figure import roofline_figure


def run_figures(breakdown: Rows, roofline: Rows) -> dict[str, tuple[Figure, ...]]:
    """Where the time goes and the roofline of each workload, from the tables of `study`."""
    names = list(dict.fromkeys(row["workload"] for row in breakdown))
    return {
        name: (
            _breakdown(f"time{place}", _of(name, breakdown)),
            _roofline(f"roofline{place}", _of(name, roofline)),
        )
        for place, name in enumerate(names, 1)
    }


def _breakdown(name: str, rows: Rows) -> Figure:
    return Figure(
        name=name,
        svg=breakdown_figure(rows, title="", form="svg"),
        caption="Time of each schedule, and what it goes to. A pipe stands for the steps that it"
        " paces; in what is drawn white nothing runs. The numbers are in the table.",
        alt="Stacked bars of the time of each schedule by cause; a table has the shares.",
        rows=rows,
    )


def _roofline(name: str, rows: Rows) -> Figure:
    return Figure(
        name=name,
        svg=roofline_figure(rows, title="", form="svg"),
        caption="Roofline: useful work against bytes moved, one point for each schedule and"
        " level of memory, all of one schedule at the same height. A point on the line of its"
        " colour uses all the bandwidth that the level can sustain.",
        alt="Roofline of each GPU with a point per schedule and memory level.",
        rows=rows,
        folded="Roofline",
    )


def _of(name: str, rows: Rows) -> Sequence[Mapping[str, Any]]:
    return [row for row in rows if row["workload"] == name]
