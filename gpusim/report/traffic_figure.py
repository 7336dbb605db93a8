"""The figure of traffic by memory level, beside what any kernel must move."""

from typing import TYPE_CHECKING, Any

from gpusim.report.figures import COLOURS, render_titled
from gpusim.report.panels import Rows, by_machine, by_run, names_on_y, run_name
from gpusim.report.table import bytes_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

#: Panels from the farthest level to the nearest: title, and the levels stacked in it with looks.
PANELS: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    ("HBM", (("hbm_read", COLOURS[0], ""), ("hbm_write", COLOURS[4], "////"))),
    ("L2 to SMs", (("l2_to_sm", COLOURS[5], ""),)),
    ("shared memory", (("shared_memory", COLOURS[2], ""),)),
)
COMPULSORY = "compulsory"
#: Legend texts.
NAMES = {
    "hbm_read": "HBM read",
    "hbm_write": "HBM write",
    "l2_to_sm": "L2 to SMs",
    "shared_memory": "shared memory",
}


def traffic_figure(rows: Rows, *, title: str, form: str) -> bytes:
    """Bars by GPU and schedule, a panel per memory level.

    Args:
        rows: of `study.traffic_by_level`: a row per run and level, with `bytes`.
        title: of the figure.
        form: 'png', 'svg' or 'pdf'.
    """
    return render_titled(
        lambda figure: draw_traffic(figure, rows),
        title=title,
        height=traffic_height(rows),
        form=form,
    )


def traffic_height(rows: Rows) -> float:
    """Inches that the figure needs."""
    return 1.15 + 0.3 * len(by_machine(rows)) + 0.21 * len(by_run(rows))


def draw_traffic(figure: "FigureBase", rows: Rows) -> None:
    """The panels, a row of them per GPU."""
    machines = by_machine(rows)
    sizes = [len(by_run(group)) + 0.6 for group in machines.values()]
    axes = figure.subplots(
        len(machines), len(PANELS), squeeze=False, sharex="col", height_ratios=sizes
    )
    unit, scale = _unit(max(row["bytes"] for row in rows))
    for line, (name, group) in zip(axes, machines.items(), strict=True):
        runs = list(by_run(group).values())
        for column, (panel, (heading, levels)) in enumerate(zip(line, PANELS, strict=True)):
            for place, run in enumerate(runs):
                _bar(panel, place, {row["level"]: row["bytes"] / scale for row in run}, levels)
            names_on_y(
                panel, [run_name(run[0]) for run in runs] if not column else [""] * len(runs)
            )
            if line is axes[0]:
                panel.set_title(heading, loc="right")
        line[0].set_title(name, loc="left", fontweight="bold")
        for panel, run_bytes in _totals(line, runs):
            for place, total in enumerate(run_bytes):
                panel.annotate(
                    bytes_text(total),
                    (total / scale, place),
                    xytext=(3, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=6,
                )
    for column, (_, levels) in enumerate(PANELS):
        top = max(_total(run, levels) for run in by_run(rows).values()) / scale
        axes[-1][column].set(xlim=(0, 1.45 * top or 1.0), xlabel=unit)
        axes[-1][column].locator_params(axis="x", nbins=4)
    _legend(figure)


def _totals(line: Any, runs: list[Any]) -> "list[tuple[Axes, list[float]]]":
    return [
        (panel, [_total(run, levels) for run in runs])
        for panel, (_, levels) in zip(line, PANELS, strict=True)
    ]


def _total(run: Rows, levels: tuple[tuple[str, str, str], ...]) -> float:
    names = {name for name, _, _ in levels}
    return float(sum(row["bytes"] for row in run if row["level"] in names))


def _bar(
    axes: "Axes", place: int, values: dict[str, float], levels: tuple[tuple[str, str, str], ...]
) -> None:
    start = 0.0
    for name, colour, hatch in levels:
        axes.barh(
            place,
            values.get(name, 0.0),
            left=start,
            height=0.74,
            color=colour,
            hatch=hatch,
            edgecolor="white",
            linewidth=0.4,
        )
        start += values.get(name, 0.0)
    if len(levels) > 1 and COMPULSORY in values:
        ends = (place - 0.46, place + 0.46)
        axes.vlines(values[COMPULSORY], *ends, color="black", linewidth=1.4, zorder=4)


def _unit(most: float) -> tuple[str, float]:
    """The unit of the axes and its bytes."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if most >= scale:
            return unit, scale
    return "kB", 1e3


def _legend(figure: "FigureBase") -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Patch(facecolor=colour, hatch=hatch, edgecolor="white", linewidth=0.4, label=NAMES[name])
        for _, levels in PANELS
        for name, colour, hatch in levels
    ]
    mark = Line2D(
        [], [], color="black", marker="|", markersize=8, linestyle="none", markeredgewidth=1.4
    )
    mark.set_label("compulsory: inputs and outputs once")
    figure.legend(handles=[*handles, mark], loc="outside lower center", ncols=5)
