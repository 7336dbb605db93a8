"""Small multiples of signed errors: a panel for each quantity, prefill above decode."""

import io
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpusim.report.figures import look, render

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Vector = NDArray[np.float64]

HEIGHT, COLUMNS, DPI = 8.8, 4, 140
#: Colours of a picture: what makes its file small.
PALETTE = 64
#: The axis shows all errors but this share, from LEAST to GREATEST; others stand at its ends.
BEYOND, LEAST, GREATEST = 0.03, 0.3, 0.9
#: Shaded to both sides of no error.
BAND = 0.10
#: Values that stand apart by themselves, up to this many; else bins of equal numbers of rows.
FEW_VALUES, BINS = 12, 8
#: Up to so many values have ticks of their own.
FEW_TICKS = 6
#: Share of the axis that a label takes.
LABEL = 0.16
#: A median needs so many rows.
LEAST_ROWS = 6
#: Points are spread by this share of the axis to both sides, lest equal values hide one another.
JITTER = 0.015


class Residuals(NamedTuple):
    """Rows of a GPU and phase.

    Attributes:
        phase: of all of them.
        kernel: of each row.
        error: predicted / measured - 1 of each row.
        values: of each row, by quantity; all positive.
    """

    phase: str
    kernel: Sequence[str]
    error: Vector
    values: Mapping[str, Vector]


def residual_figure(parts: Sequence[Residuals], *, title: str) -> bytes:
    """A PNG: rows of panels for each part, points and medians in the colour of their kernel."""
    kernels = sorted({name for part in parts for name in part.kernel})
    looks = {name: look(index) for index, name in enumerate(kernels)}
    every = np.concatenate([part.error for part in parts])
    limit = float(np.clip(np.quantile(np.abs(every), 1 - BEYOND), LEAST, GREATEST))

    def draw(figure: "Figure") -> None:
        blocks = figure.subfigures(len(parts), 1, squeeze=False).ravel()
        for block, part in zip(blocks, parts, strict=True):
            rows = -(-len(part.values) // COLUMNS)
            grid = block.subplots(rows, COLUMNS, sharey=True, squeeze=False).ravel()
            for axes, (label, values) in zip(grid, part.values.items(), strict=False):
                _panel(axes, part, values, limit, looks)
                axes.set_xlabel(label)
            for axes in grid[::COLUMNS]:
                axes.set_ylabel("error [%]")
            block.suptitle(_summary(part, limit), fontsize=8, x=0.01, ha="left")
        handles = [_handle(name, looks[name]) for name in kernels]
        figure.suptitle(title, parse_math=False, fontsize=9)
        figure.legend(handles=handles, loc="outside lower center", ncols=min(3, len(handles)))

    return _small(render(draw, height=HEIGHT, form="png", dpi=DPI))


def trend(values: Vector, error: Vector) -> list[tuple[float, float]]:
    """Median error along a quantity: at each value if they are few, else in bins of as many rows.

    >>> trend(np.array([1.0] * 6 + [2.0] * 7), np.array([0, 1, 2, 3, 4, 5, 7, 7, 7, 8, 9, 9, 9.0]))
    [(1.0, 2.5), (2.0, 8.0)]
    """
    distinct = np.unique(values)
    if len(distinct) <= FEW_VALUES:
        groups = [values == value for value in distinct]
    else:
        bins = max(1, min(BINS, len(values) // LEAST_ROWS))
        edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)))
        place = np.searchsorted(edges[1:-1], values, side="right")
        groups = [place == index for index in range(len(edges) - 1)]
    return [
        (float(np.median(values[group])), float(np.median(error[group])))
        for group in groups
        if group.sum() >= LEAST_ROWS
    ]


def _panel(
    axes: "Axes", part: Residuals, values: Vector, limit: float, looks: Mapping[str, Any]
) -> None:
    width = JITTER * np.log(values.max() / values.min())
    spread = np.exp(np.random.default_rng(0).uniform(-width, width, len(values)))
    shown = 100 * np.clip(part.error, -limit, limit)
    axes.axhspan(-100 * BAND, 100 * BAND, color="0.93", linewidth=0, zorder=0)
    axes.axhline(0, color="0.35", linewidth=0.8, zorder=2)
    point = partial(axes.scatter, s=2.5, alpha=0.3, linewidths=0, zorder=1)
    for kernel, style in looks.items():
        rows = np.array([name == kernel for name in part.kernel])
        if rows.any():
            point((values * spread)[rows], shown[rows], **style)
            line = list(zip(*trend(values[rows], shown[rows]), strict=True)) or ((), ())
            axes.plot(*line, color="white", linewidth=2.6, zorder=4)
            axes.plot(*line, markersize=3.2, markeredgewidth=0, zorder=5, **style)
    axes.set(xscale="log", ylim=(-106 * limit, 106 * limit))
    ticks = np.unique(values).tolist()
    if len(ticks) <= FEW_TICKS:
        axes.set_xticks(ticks, labels_of(ticks))
        axes.set_xticks([], minor=True)


def labels_of(ticks: Sequence[float]) -> list[str]:
    """Labels of ascending ticks on a logarithmic axis; none where the next one's needs the room.

    >>> labels_of([64, 128, 192, 256, 512])
    ['64', '128', '', '256', '512']
    """
    least = LABEL * np.log(ticks[-1] / ticks[0])
    labels, free = [], np.inf
    for tick in reversed(ticks):
        room = np.log(free / tick) >= least
        labels.append(f"{tick:g}" if room else "")
        free = tick if room else free
    return labels[::-1]


def _handle(kernel: str, style: Mapping[str, Any]) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], label=kernel, markersize=4, markeredgewidth=0, **style)


def _summary(part: Residuals, limit: float) -> str:
    size = 100 * np.abs(part.error)
    beyond = int((size > 100 * limit).sum())
    return (
        f"{part.phase}: {len(size):,} rows, |error| {np.median(size):.1f} % at the median and"
        f" {np.percentile(size, 90):.0f} % at the 90th percentile; {beyond:,} lie beyond the axis"
    )


def _small(png: bytes) -> bytes:
    """The same picture in few colours."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as picture:
        flat = picture.convert("RGB").quantize(PALETTE, dither=Image.Dither.NONE)
        content = io.BytesIO()
        flat.save(content, format="png", optimize=True)
    return content.getvalue()
