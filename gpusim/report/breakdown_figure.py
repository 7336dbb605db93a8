"""The figure of where the time goes: per schedule its time, and the share of each cause."""

from typing import TYPE_CHECKING, Any

from gpusim.report.figures import COLOURS, render_titled
from gpusim.report.panels import Rows, by_machine, by_run, names_on_y, run_name
from gpusim.units import duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

#: Causes with a look of their own in one figure, the greatest; the rest are OTHER.
MAX_CAUSES = 10
OTHER = "other"
#: Units of the time and their us.
UNITS = (("s", 1e6), ("ms", 1e3), ("us", 1.0))
#: Shares from this on are written into the bar; the cause too if its letters, of so many per cent
#: of the bar each, have room.
WRITTEN, LETTER = 0.045, 0.0145

_BLUE, _RED, _GREEN, _PINK, _SKY, _ORANGE = COLOURS
#: Face, hatch and colour of the hatch: a cause looks the same in every figure, and what two hues
#: cannot tell a reader in black and white, the hatch does. Time in which nothing runs is white.
LOOKS: dict[str, tuple[str, str, str]] = {
    "hbm": (_BLUE, "", "white"),
    "l2": (_SKY, "", "white"),
    "tensor": (_RED, "", "white"),
    "shared_memory": (_ORANGE, "", "white"),
    "exp2": (_PINK, "", "white"),
    "fp32": (_GREEN, "", "white"),
    "convert": (_GREEN, "////", "white"),
    "shuffle": (_PINK, "////", "white"),
    "issue": (_ORANGE, "////", "white"),
    "load_latency": (_SKY, "////", "white"),
    "sync": ("0.45", "", "white"),
    "cta_latency": ("0.7", "", "white"),
    "fix_up": (_RED, "////", "white"),
    "launch": ("0.25", "", "white"),
    "tail": ("white", "////", "0.55"),
    "unfilled": ("white", "....", "0.55"),
    "attention": (_RED, "", "white"),
    "gemm": (_BLUE, "", "white"),
    "head": (_SKY, "", "white"),
    "norms": (_GREEN, "", "white"),
    "all_reduce": (_PINK, "", "white"),
    "framework": (_ORANGE, "", "white"),
    OTHER: ("0.88", "", "white"),
}
#: Of causes that are not known here, in turn.
_SPARE = [(colour, hatch, "white") for hatch in ("xxxx", "\\\\\\\\", "++++") for colour in COLOURS]


def breakdown_figure(rows: Rows, *, title: str, form: str) -> bytes:
    """Stacked bars by GPU and schedule: the time on the left, the shares of its causes beside.

    Args:
        rows: of `study.breakdown`: a row per run and cause, with `us` and `share`.
        title: of the figure.
        form: 'png', 'svg' or 'pdf'.
    """
    return render_titled(
        lambda figure: draw_breakdown(figure, rows),
        title=title,
        height=breakdown_height(rows),
        form=form,
    )


def breakdown_height(rows: Rows) -> float:
    """Inches that the figure needs."""
    return 1.35 + 0.3 * len(by_machine(rows)) + 0.21 * len(by_run(rows))


def draw_breakdown(figure: "FigureBase", rows: Rows) -> None:
    """The panels, a pair per GPU."""
    looks = _looks(rows)
    machines = by_machine(rows)
    longest = max(sum(row["us"] for row in run) for run in by_run(rows).values())
    unit, scale = next(pair for pair in UNITS if longest >= pair[1] or pair is UNITS[-1])
    longest /= scale
    sizes = [len(by_run(group)) + 0.6 for group in machines.values()]
    axes = figure.subplots(
        len(machines),
        2,
        squeeze=False,
        sharex="col",
        height_ratios=sizes,
        width_ratios=(1, 2),
    )
    for (times, shares), (name, group) in zip(axes, machines.items(), strict=True):
        runs = list(by_run(group).values())
        for place, run in enumerate(runs):
            parts = _parts(run, "us", looks)
            _bar(times, place, {cause: us / scale for cause, us in parts.items()}, looks)
            _bar(shares, place, _parts(run, "share", looks), looks, written=True)
            total = sum(row["us"] for row in run)
            times.annotate(
                duration(total),
                (total / scale, place),
                xytext=(2, 0),
                textcoords="offset points",
                va="center",
                fontsize=6.5,
            )
        names_on_y(times, [run_name(run[0]) for run in runs])
        names_on_y(shares, [""] * len(runs))
        times.set_title(name, loc="left", fontweight="bold")
    axes[-1][0].set(xlim=(0, 1.36 * longest), xlabel=f"time [{unit}]")
    axes[-1][0].locator_params(axis="x", nbins=4)
    axes[-1][1].set(xlim=(0, 100), xlabel="share of the time [%]")
    handles = [_handle(name, look) for name, look in looks.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=6, handlelength=1.8)


def _looks(rows: Rows) -> dict[str, tuple[str, str, str]]:
    """The causes that the figure tells apart, those of most time first."""
    weight: dict[str, float] = {}
    for row in rows:
        weight[row["cause"]] = max(weight.get(row["cause"], 0.0), row["share"])
    ordered = sorted(weight, key=lambda cause: (-weight[cause], cause))
    own = [cause for cause in ordered[:MAX_CAUSES] if cause != OTHER]
    spare = iter(_SPARE * len(ordered))
    looks = {cause: LOOKS[cause] if cause in LOOKS else next(spare) for cause in own}
    return looks | ({OTHER: LOOKS[OTHER]} if len(ordered) > len(own) else {})


def _parts(run: Rows, column: str, looks: dict[str, Any]) -> dict[str, float]:
    """A run's numbers by cause, what has no look of its own under OTHER."""
    parts = dict.fromkeys(looks, 0.0)
    for row in run:
        parts[row["cause"] if row["cause"] in looks else OTHER] += row[column]
    return parts


def _bar(
    axes: "Axes",
    place: float,
    parts: dict[str, float],
    looks: dict[str, tuple[str, str, str]],
    *,
    written: bool = False,
) -> None:
    """One stacked bar; `written` parts are shares, and say so where there is room."""
    scale, start = 100 if written else 1, 0.0
    for cause, value in parts.items():
        if value <= 0:
            continue
        face, hatch, ink = looks[cause]
        axes.barh(
            place,
            scale * value,
            left=scale * start,
            height=0.74,
            color=face,
            hatch=hatch,
            edgecolor=ink,
            linewidth=0.4,
        )
        if written and value >= WRITTEN:
            _write(axes, scale * (start + value / 2), place, cause, value, face, bool(hatch))
        start += value


def _write(
    axes: "Axes", x: float, y: float, cause: str, share: float, face: str, hatched: bool
) -> None:
    """The share, and the cause if there is room, within a part of a bar."""
    text = f"{cause.replace('_', ' ')} {share:.0%}"
    if share < LETTER * (len(text) + 1):
        text = f"{share:.0%}"
    dark = face in (_BLUE, _RED, _GREEN, "0.25", "0.45")
    box = {"facecolor": face, "edgecolor": "none", "pad": 0.6} if hatched else None
    axes.text(
        x,
        y,
        text,
        ha="center",
        va="center_baseline",
        fontsize=6,
        color="white" if dark else "black",
        bbox=box,
    )


def _handle(name: str, look: tuple[str, str, str]) -> Any:
    from matplotlib.patches import Patch

    face, hatch, ink = look
    edge = ink if hatch or face != "white" else "0.5"
    label = name.replace("_", " ")
    return Patch(facecolor=face, hatch=hatch, edgecolor=edge, linewidth=0.4, label=label)
