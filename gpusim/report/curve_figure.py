"""Curves of configurations over a load, with the targets they have to stay within."""

from math import inf
from typing import TYPE_CHECKING, Any

from gpusim.report.figures import WIDTH, look, render_titled
from gpusim.report.panels import Rows, grid, grouped, literal
from gpusim.units import ceil_div

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

#: Beside colour and marker, which together repeat late, lines differ by dashes.
DASHES = ("-", "--", ":", "-.")
#: A panel shows at least its target, and of what lies above it at most so many times that.
ABOVE = 4.0
#: Columns of the legend at most, and inches that a letter of it and what stands beside it take.
MAX_COLUMNS, LETTER, HANDLE = 4, 0.056, 0.5


def curve_figure(
    rows: Rows,
    *,
    title: str,
    form: str,
    x_label: str = "load",
    log_x: bool = False,
    log_y: bool = False,
) -> bytes:
    """Lines over `x`, a panel per metric, such as latency over throughput.

    Args:
        rows: with `metric` (the panel and its y label, such as 'TPOT p99 [ms]'), `configuration`
            (the line), `x`, `y`, and for a panel with a target `target` in the units of y. Points
            of a line stand in the rows' order. A y that is None or not finite is left out.
        title: of the figure.
        form: 'png', 'svg' or 'pdf'.
        x_label: of all panels.
        log_x, log_y: logarithmic axes.
    """

    def draw(figure: Any) -> None:
        for panel in draw_curves(figure, rows, x_label=x_label, log_y=log_y):
            panel.set_xscale("log" if log_x else "linear")

    return render_titled(draw, title=title, height=curve_height(rows), form=form)


def curve_height(rows: Rows) -> float:
    """Inches that the figure needs."""
    lines = len(grouped(rows, "configuration"))
    panels = len(grouped(rows, "metric"))
    return 2.4 * ceil_div(panels, 2) + 0.55 + 0.15 * ceil_div(lines + 1, _legend_columns(rows))


def _legend_columns(rows: Rows) -> int:
    """As many as the longest name leaves room for."""
    longest = max(len(literal(row["configuration"])) for row in rows)
    return max(1, min(MAX_COLUMNS, int(WIDTH / (HANDLE + LETTER * longest))))


def draw_curves(figure: "FigureBase", rows: Rows, *, x_label: str, log_y: bool) -> "list[Axes]":
    """The panels, drawn."""
    looks = _looks(rows)
    panels = grouped(rows, "metric")
    axes = grid(figure, len(panels), 2)
    for panel, ((metric,), group) in zip(axes, panels.items(), strict=True):
        _panel(panel, group, looks, log_y=log_y)
        panel.set_xlabel(literal(x_label, 80))
        panel.set_ylabel(literal(metric, 60))
    handles = [_handle(name, style) for name, style in looks.items()]
    if any(row.get("target") is not None for row in rows):
        handles.append(_handle("target", _TARGET))
    figure.legend(handles=handles, loc="outside lower center", ncols=_legend_columns(rows))
    return axes


_TARGET: dict[str, Any] = {"color": "black", "linestyle": (0, (6, 2)), "linewidth": 1.0}


def _looks(rows: Rows) -> dict[str, dict[str, Any]]:
    names = [str(key[0]) for key in grouped(rows, "configuration")]
    return {
        name: look(index) | {"linestyle": DASHES[index % len(DASHES)]}
        for index, name in enumerate(names)
    }


def _panel(axes: "Axes", group: Rows, looks: dict[str, dict[str, Any]], *, log_y: bool) -> None:
    highest, lowest = 0.0, inf
    for (name,), points in grouped(group, "configuration").items():
        shown = [(row["x"], row["y"]) for row in points if _finite(row["y"])]
        highest = max([highest, *(y for _, y in shown)])
        lowest = min([lowest, *(y for _, y in shown)])
        axes.plot(
            [x for x, _ in shown],
            [y for _, y in shown],
            markersize=3,
            markeredgewidth=0,
            zorder=3,
            **looks[str(name)],
        )
    targets = {row["target"] for row in group if row.get("target") is not None}
    for target in targets:
        axes.axhline(target, **_TARGET, zorder=2)
    if log_y:
        axes.set_yscale("log")
    elif highest > 0 or targets:
        top = 1.08 * highest
        if targets:  # the nearest line shows, even where it keeps no target
            near = max(targets) if lowest == inf else max(*targets, lowest)
            top = min(top, ABOVE * near)
        axes.set_ylim(0, max([top, *(1.15 * target for target in targets)]))


def _finite(value: float | None) -> bool:
    return value is not None and -inf < value < inf


def _handle(name: str, style: dict[str, Any]) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], label=literal(name), markersize=3, markeredgewidth=0, **style)
