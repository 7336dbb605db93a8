"""The roofline: useful FLOP against bytes of each memory level, under the machine's ceilings."""

from math import atan, degrees, log10
from typing import TYPE_CHECKING, Any

from gpusim.report.figures import COLOURS, render_titled
from gpusim.report.panels import Row, Rows, apart, by_machine, by_run, literal, run_name
from gpusim.units import digits

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

#: Colour, marker and line of each memory level.
LEVELS: dict[str, tuple[str, str, str]] = {
    "HBM": (COLOURS[0], "o", "-"),
    "L2": (COLOURS[1], "s", "--"),
    "shared memory": (COLOURS[2], "^", ":"),
}
#: The farther level is the larger mark: where two levels coincide, both are seen.
SIZES = {"HBM": 7.0, "L2": 4.5, "shared memory": 3.5}
#: Inches from one name to the next, and of a panel without names.
NAME_HEIGHT, PANEL_HEIGHT = 0.135, 2.3


def roofline_figure(rows: Rows, *, title: str, form: str) -> bytes:
    """A panel per workload and GPU, both axes logarithmic.

    A run is one point per memory level, at the same height, under that level's line; the names on
    the right stand at the runs' heights as far as there is room.

    Args:
        rows: of `study.roofline`: ceilings by `kind` 'memory' and 'compute', points by 'run'.
        title: of the figure.
        form: 'png', 'svg' or 'pdf'.
    """
    return render_titled(
        lambda figure: draw_roofline(figure, rows),
        title=title,
        height=roofline_height(rows),
        form=form,
    )


def roofline_height(rows: Rows) -> float:
    """Inches that the figure needs."""
    return 0.8 + sum(_height(group) + 0.35 for group in by_machine(rows).values())


def draw_roofline(figure: "FigureBase", rows: Rows) -> None:
    """The panels, one below the other."""
    machines = by_machine(rows)
    sizes = [_height(group) for group in machines.values()]
    axes = figure.subplots(len(machines), 1, squeeze=False, height_ratios=sizes)[:, 0]
    for panel, (name, group), size in zip(axes, machines.items(), sizes, strict=True):
        _panel(panel, group, size)
        panel.set_title(name, loc="left", fontweight="bold")
        panel.set_ylabel("useful TFLOP/s")
    axes[-1].set_xlabel("useful FLOP per byte that the run moves at the level")
    figure.legend(handles=_handles(), loc="outside lower center", ncols=4)


def _height(group: Rows) -> float:
    return max(PANEL_HEIGHT, NAME_HEIGHT * len(by_run(_runs(group))))


def _runs(group: Rows) -> list[Row]:
    return [row for row in group if row["kind"] == "run"]


def _panel(axes: "Axes", group: Rows, inches: float) -> None:
    memory = [row for row in group if row["kind"] == "memory"]
    compute = [row for row in group if row["kind"] == "compute"]
    runs = _runs(group)
    top = max(row["tflops"] for row in compute)
    ridge = max(1e3 * top / row["gb_per_s"] for row in memory)
    left = min([ridge / 30, *(row["flop_per_byte"] for row in runs)]) / 4
    right = max([ridge, *(row["flop_per_byte"] for row in runs)]) * 4
    bottom = min([top / 100, *(row["tflops"] for row in runs)]) / 2
    axes.set(xscale="log", yscale="log", xlim=(left, right), ylim=(bottom, top * 2.2))
    for row in memory:
        colour, _, line = LEVELS[row["name"]]
        end = 1e3 * top / row["gb_per_s"]
        roof = [row["gb_per_s"] * x / 1e3 for x in (left, end)]
        axes.plot((left, end), roof, color=colour, linestyle=line, zorder=2)
    _bandwidths(axes, memory, left)
    _compute(axes, compute, memory, right, inches)
    for row in runs:
        colour, marker, _ = LEVELS[row["name"]]
        axes.plot(
            row["flop_per_byte"],
            row["tflops"],
            color=colour,
            marker=marker,
            markersize=SIZES[row["name"]],
            markeredgecolor="white",
            markeredgewidth=0.4,
            zorder=4,
        )
    _names(axes, runs, inches)


def _bandwidths(axes: "Axes", memory: Rows, left: float) -> None:
    """The bandwidth along each memory line, from its lower end on."""
    for row in memory:
        slope = row["gb_per_s"] / 1e3
        start = max(left, axes.get_ylim()[0] / slope) * 1.15
        axes.text(
            start,
            slope * start,
            f"{literal(row['name'])} {digits(slope)} TB/s",
            rotation=degrees(atan(slope)),
            transform_rotates_text=True,
            rotation_mode="anchor",
            va="bottom",
            fontsize=6,
            color=LEVELS[row["name"]][0],
        )


_CLEAR = {"facecolor": "white", "edgecolor": "none", "pad": 0.3, "alpha": 0.8}


def _compute(axes: "Axes", compute: Rows, memory: Rows, right: float, inches: float) -> None:
    """Level lines from the fastest memory on, with their names at the right end."""
    fastest = max(row["gb_per_s"] for row in memory)
    low, high = (log10(y) for y in axes.get_ylim())
    step = 0.105 * (high - low) / inches
    places = apart([log10(row["tflops"]) for row in compute], step, low, high - step)
    for row, place in zip(compute, places, strict=True):
        start = 1e3 * row["tflops"] / fastest
        axes.plot((start, right), [row["tflops"]] * 2, color="0.35", linewidth=0.8, zorder=1.5)
        text = f"{literal(row['name'])} {digits(row['tflops'])}"
        axes.text(
            right, 10**place, text, ha="right", va="bottom", fontsize=6, color="0.2", bbox=_CLEAR
        )


def _names(axes: "Axes", runs: Rows, inches: float) -> None:
    """Each run's name on the right, and a thin line from it through the run's points."""
    groups = list(by_run(runs).values())
    low, high = (log10(y) for y in axes.get_ylim())
    heights = [log10(group[0]["tflops"]) for group in groups]
    step = NAME_HEIGHT * (high - low) / inches
    places = apart(heights, step, low + step / 4, high - step / 4)
    for group, height, place in zip(groups, heights, places, strict=True):
        first = min(row["flop_per_byte"] for row in group)
        reached = group[0]["tflops"]
        axes.plot(
            (first, axes.get_xlim()[1]), (reached, reached), color="0.75", linewidth=0.5, zorder=1
        )
        axes.annotate(
            f"{run_name(group[0])}  {digits(reached)}",
            xy=(1.0, (height - low) / (high - low)),
            xytext=(1.03, (place - low) / (high - low)),
            xycoords="axes fraction",
            textcoords="axes fraction",
            va="center",
            fontsize=6.5,
            arrowprops={
                "arrowstyle": "-",
                "color": "0.75",
                "linewidth": 0.5,
                "shrinkB": 0,
                "relpos": (0, 0.5),
            },
        )


def _handles() -> list[Any]:
    from matplotlib.lines import Line2D

    styles: list[dict[str, Any]] = [
        {"color": colour, "marker": marker, "linestyle": line, "markersize": 4.5, "label": name}
        for name, (colour, marker, line) in LEVELS.items()
    ]
    styles.append({"color": "0.35", "linewidth": 0.8, "label": "instruction paths [TFLOP/s]"})
    return [Line2D([], [], **style) for style in styles]
