"""The timeline of SMs: what their slots do over the time of a run."""

from typing import TYPE_CHECKING, Any

from gpusim.report.figures import COLOURS, render_titled
from gpusim.report.panels import Rows, by_run, grid, grouped, literal, run_titles
from gpusim.units import ceil_div, duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

#: A slot's colour by phase; an empty one is white.
PHASES = {
    "prologue": COLOURS[5],
    "steps": COLOURS[0],
    "epilogue": COLOURS[2],
    "wait": "#000000",
}
NAMES = {
    "prologue": "prologue: start, first loads, Q",
    "steps": "main-loop steps",
    "epilogue": "epilogue: O",
    "wait": "waits for peers, merges",
}
#: Panels stand one below the other up to so many, more of them in pairs.
SINGLE = 4
#: Names of launches shorter than this share of the run are left out.
NAMED = 0.012
#: Resolution of the pictures within vector formats.
DPI = 200


def timeline_figure(rows: Rows, *, title: str, form: str) -> bytes:
    """A panel per run: SMs from the first on top, time from left to right.

    A cell mixes the colours of the phases of the SM's slots by their shares; what is empty of them
    is white, so that a paler SM has fewer CTAs.

    Args:
        rows: of `study.timeline`: a row per run, launch, SM and part of the time.
        title: of the figure.
        form: 'png', 'svg' or 'pdf'.
    """
    return render_titled(
        lambda figure: draw_timeline(figure, rows),
        title=title,
        height=timeline_height(rows),
        form=form,
        dpi=DPI if form != "png" else None,
    )


def timeline_height(rows: Rows) -> float:
    """Inches that the figure needs."""
    count = len(by_run(rows))
    return 0.85 + ceil_div(count, _columns(count)) * (1.75 if count > 1 else 2.6)


def draw_timeline(figure: "FigureBase", rows: Rows) -> None:
    """The panels."""
    runs = by_run(rows)
    columns = _columns(len(runs))
    titles = run_titles(rows, lambda group: duration(_end(group)), columns)
    axes = grid(figure, len(runs), columns)
    for panel, (run, group) in zip(axes, runs.items(), strict=True):
        _panel(panel, group, _end(group), columns)
        panel.set_title(titles[run], loc="left", fontweight="bold", pad=12)
    for panel in axes[-columns:]:
        panel.set_xlabel("time [us]")
    for panel in axes[::columns]:
        panel.set_ylabel("SM")
    figure.legend(
        handles=_handles(), loc="outside lower center", ncols=5, columnspacing=1.2, handlelength=1.2
    )


def _end(group: Rows) -> float:
    return float(max(row["end_us"] for row in group))


def _columns(count: int) -> int:
    return 1 if count <= SINGLE else 2


def _panel(axes: "Axes", group: Rows, end: float, columns: int) -> None:
    sms = 1 + max(row["sm"] for row in group)
    taken = 0.0
    for (_, kernel), launch in grouped(group, "launch", "kernel").items():
        first = min(row["start_us"] for row in launch)
        last = max(row["end_us"] for row in launch)
        edges, picture = _picture(launch, sms)
        lines = [sm - 0.5 for sm in range(sms + 1)]
        axes.pcolormesh(edges, lines, picture, rasterized=True, zorder=2)
        axes.axvline(first, color="0.4", linewidth=0.4, zorder=3)
        if last - first >= NAMED * end and first >= taken:
            text = literal(kernel, 40)
            axes.text(first, -0.5 - 0.02 * sms, text, fontsize=5.5, color="0.3", va="bottom")
            taken = first + end * len(text) * 0.0088 * columns
    axes.set(xlim=(0, end), ylim=(sms - 0.5, -0.5))
    axes.grid(visible=False)


def _picture(launch: Rows, sms: int) -> tuple[list[float], Any]:
    """Edges in time, and RGB by SM and what lies between two edges."""
    import numpy as np
    from matplotlib.colors import to_rgb

    edges = sorted({row[end] for row in launch for end in ("start_us", "end_us")})
    place = {edge: index for index, edge in enumerate(edges)}
    shares = np.zeros((sms, len(edges) - 1, len(PHASES)))
    for row in launch:
        part = slice(place[row["start_us"]], place[row["end_us"]])
        shares[row["sm"], part] = [row[phase] for phase in PHASES]
    inks = np.array([to_rgb(colour) for colour in PHASES.values()])
    empty = np.clip(1 - shares.sum(axis=2, keepdims=True), 0, 1)
    return edges, np.clip(shares @ inks + empty, 0, 1)


def _handles() -> list[Any]:
    from matplotlib.patches import Patch

    phases = [Patch(facecolor=colour, label=NAMES[phase]) for phase, colour in PHASES.items()]
    empty = Patch(facecolor="white", edgecolor="0.5", linewidth=0.4, label="empty slots")
    return [*phases, empty]
