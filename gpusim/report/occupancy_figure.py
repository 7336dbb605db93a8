"""Occupancy over the time of a run, beside the theoretical one."""

from typing import TYPE_CHECKING, Any

from gpusim.report.figures import COLOURS, render_titled
from gpusim.report.panels import Rows, by_run, grid, grouped, run_titles
from gpusim.units import ceil_div, duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

#: Panels in a row.
COLUMNS = 2


def occupancy_figure(rows: Rows, *, title: str, form: str) -> bytes:
    """A panel per run: the share of the GPU's warp slots that is occupied, over time.

    Args:
        rows: of `study.occupancy_over_time`: a row per run, launch and part of the time.
        title: of the figure.
        form: 'png', 'svg' or 'pdf'.
    """
    return render_titled(
        lambda figure: draw_occupancy(figure, rows),
        title=title,
        height=occupancy_height(rows),
        form=form,
    )


def occupancy_height(rows: Rows) -> float:
    """Inches that the figure needs."""
    count = len(by_run(rows))
    return 0.85 + ceil_div(count, _columns(count)) * (1.15 if count > 1 else 1.9)


def draw_occupancy(figure: "FigureBase", rows: Rows) -> None:
    """The panels."""
    runs = by_run(rows)
    columns = _columns(len(runs))
    titles = run_titles(rows, lambda group: duration(_end(group)), columns)
    axes = grid(figure, len(runs), columns)
    for panel, (run, group) in zip(axes, runs.items(), strict=True):
        _panel(panel, group, _end(group))
        panel.set_title(titles[run], loc="left", fontweight="bold")
    for panel in axes[-columns:]:
        panel.set_xlabel("time [us]")
    for panel in axes[::columns]:
        panel.set_ylabel("warps [%]")
    figure.legend(handles=_handles(), loc="outside lower center", ncols=2)


def _end(group: Rows) -> float:
    return float(max(row["end_us"] for row in group))


def _columns(count: int) -> int:
    return min(COLUMNS, count)


def _panel(axes: "Axes", group: Rows, end: float) -> None:
    top = 0.0
    for launch in grouped(group, "launch").values():
        ordered = sorted(launch, key=lambda row: row["start_us"])
        edges = [*(row["start_us"] for row in ordered), ordered[-1]["end_us"]]
        warps = [100 * row["warps_fraction"] for row in ordered]
        limit = 100 * ordered[0]["theoretical_fraction"]
        axes.stairs(warps, edges, fill=True, color=_ACHIEVED, alpha=0.55, linewidth=0)
        axes.stairs(warps, edges, color=_ACHIEVED, linewidth=0.7, baseline=None)
        axes.hlines(limit, edges[0], edges[-1], **_THEORETICAL)
        top = max([top, limit, *warps])
    axes.set(xlim=(0, end), ylim=(0, min(105.0, 1.2 * top)))


_ACHIEVED = COLOURS[0]
_THEORETICAL: dict[str, Any] = {"color": "black", "linestyle": (0, (4, 2)), "linewidth": 0.9}


def _handles() -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    return [
        Patch(facecolor=_ACHIEVED, alpha=0.55, label="warps resident, of all that the GPU holds"),
        Line2D([], [], label="theoretical: all slots of the launch filled", **_THEORETICAL),
    ]
