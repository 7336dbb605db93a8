"""The tornado: how far a prediction moves with each of its inputs."""

from typing import TYPE_CHECKING, Any

from gpusim.report.figures import COLOURS, render_titled
from gpusim.report.panels import (
    Row,
    Rows,
    grid,
    grouped,
    literal,
    names_on_y,
    run_titles,
)
from gpusim.units import ceil_div, digits, duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

#: Colour and hatch where an input is smaller, and where it is greater.
SIDES = {"low": (COLOURS[4], ""), "high": (COLOURS[1], "////")}
#: Up to so many panels stand one below the other, more of them in pairs.
SINGLE = 3


def sensitivity_figure(
    rows: Rows, *, title: str, form: str, change: str = "20 %", what: str = "prediction"
) -> bytes:
    """Horizontal bars around the base, a panel per run or `panel`.

    Args:
        rows: of `study.sensitivity`, or any with `label`, `low`, `high`, `base` and `unit`; rows
            with `panel` are drawn by it, others by `run` if they have one. Bars stand in the rows'
            order.
        title: of the figure.
        form: 'png', 'svg' or 'pdf'.
        change: by how much the inputs were changed, for the legend.
        what: the number that the bars change.
    """
    return render_titled(
        lambda figure: draw_sensitivity(figure, rows, change=change, what=what),
        title=title,
        height=sensitivity_height(rows),
        form=form,
    )


def sensitivity_height(rows: Rows) -> float:
    """Inches that the figure needs."""
    groups = list(_panels(rows).values())
    columns = _columns(len(groups))
    lines = 1 + max(name.count("\n") for name in _panels(rows))
    longest = max(len(group) for group in groups)
    return 0.8 + ceil_div(len(groups), columns) * (0.38 + 0.13 * lines + 0.15 * longest)


def draw_sensitivity(
    figure: "FigureBase", rows: Rows, *, change: str, what: str = "prediction"
) -> None:
    """The panels."""
    panels = _panels(rows)
    columns = _columns(len(panels))
    axes = grid(figure, len(panels), columns)
    for panel, (name, group) in zip(axes, panels.items(), strict=True):
        _panel(panel, group, margin=1.3 if columns == 1 else 1.7)
        panel.set_title(name, loc="left" if columns == 1 else "right", fontweight="bold")
    for panel in axes[-columns:]:
        panel.set_xlabel(f"change of the {what} [%]")
    figure.legend(handles=_handles(change), loc="outside lower center", ncols=2)


def _panels(rows: Rows) -> dict[str, list[Row]]:
    """Rows by the title of their panel, which ends with the base."""
    if any("panel" in row for row in rows):
        named = {literal(key[0], 80): group for key, group in grouped(rows, "panel").items()}
        return {f"{name}: {_base(group)}": group for name, group in named.items()}
    runs = grouped(rows, "run")
    if runs.keys() == {("",)}:
        return {_base(rows): list(rows)}
    titles = run_titles(rows, _base, _columns(len(runs)))
    doubled = len(set(titles.values())) < len(titles)
    return {
        f"{titles[run]} ({run})" if doubled else titles[run]: group
        for (run,), group in runs.items()
    }


def _base(group: Rows) -> str:
    value, unit = group[0]["base"], group[0]["unit"]
    return duration(value) if unit == "us" else f"{digits(value)} {literal(unit)}"


def _columns(count: int) -> int:
    return 1 if count <= SINGLE else 2


def _panel(axes: "Axes", group: Rows, *, margin: float) -> None:
    reach = 0.0
    for place, row in enumerate(group):
        changes = {side: 100 * (row[side] / row["base"] - 1) for side in SIDES}
        shorter = min(map(abs, changes.values()))
        for side, (colour, hatch) in SIDES.items():
            percent = changes[side]
            reach = max(reach, abs(percent))
            axes.barh(
                place,
                percent,
                height=0.74,
                color=colour,
                hatch=hatch,
                edgecolor="white",
                linewidth=0.4,
                zorder=3 if abs(percent) == shorter else 2,
            )
        _write(axes, place, row)
    names_on_y(axes, [literal(row["label"]) for row in group])
    axes.axvline(0, color="black", linewidth=0.6)
    reach = margin * reach or 1.0
    axes.set_xlim(-reach, reach)


def _write(axes: "Axes", place: int, row: Row) -> None:
    """Per cent at the outer end of each side; on one and the same side, of the longer alone."""
    ends = [100 * (row[side] / row["base"] - 1) for side in SIDES]
    if ends[0] * ends[1] > 0:
        ends = [max(ends, key=abs)]
    for end in ends:
        if abs(end) >= 0.05:
            axes.annotate(
                f"{end:+.1f}",
                (end, place),
                xytext=(2 if end > 0 else -2, 0),
                textcoords="offset points",
                ha="left" if end > 0 else "right",
                va="center",
                fontsize=6,
            )


def _handles(change: str) -> list[Any]:
    from matplotlib.patches import Patch

    texts = {"low": f"{change} smaller", "high": f"{change} greater"}
    return [
        Patch(facecolor=colour, hatch=hatch, edgecolor="white", linewidth=0.4, label=texts[side])
        for side, (colour, hatch) in SIDES.items()
    ]
