"""Figures of runs for a page, by workload."""

from collections.abc import Mapping, Sequence
from typing import Any

from gpusim.report.breakdown_figure import breakdown_figure
from gpusim.report.page_figure import Figure
from gpusim.report.panels import Rows
from gpusim.report.roofline_figure import roofline_figure


def run_figures(breakdown: Rows, roofline: Rows) -> dict[str, tuple[Figure, ...]]:
    """Where the time goes and the roofline of each workload, from the tables of `study`.

    A workload that has no roofline has only the first.
    """
    found: dict[str, tuple[Figure, ...]] = {}
    for place, name in enumerate(dict.fromkeys(row["workload"] for row in breakdown), 1):
        lines = _of(name, roofline)
        drawn = (_roofline(f"roofline{place}", lines),) if lines else ()
        found[name] = (_breakdown(f"time{place}", _of(name, breakdown)), *drawn)
    return found


def _breakdown(name: str, rows: Rows) -> Figure:
    return Figure(
        name=name,
        svg=breakdown_figure(rows, title="", form="svg"),
        caption="Time of each schedule, and what it goes to; the words are explained at the end of"
        " the page.",
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
