"""What all figures share: their style, the formats they are written in, and how they are drawn."""

import warnings
from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Metadata by format: the same rows make the same bytes.
FORMATS: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}
#: For a page of two columns: 7.2 inches wide, text of 8 points and less.
STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,
    "svg.hashsalt": "gpusim",
}
WIDTH = 7.2
#: Hues that differ for every kind of colour vision (Okabe and Ito 2008), without black and yellow.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
#: Beside the hue: a reader in black and white has these. Repeats out of step with the hues.
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def render(
    draw: Callable[["Figure"], None], *, height: float, form: str, dpi: float | None = None
) -> bytes:
    """The file of a figure that `draw` fills, in one of FORMATS; it never opens a display.

    `dpi` is the resolution of pictures, in vector formats too, where STYLE's makes too large files.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    content = BytesIO()
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # names are the user's
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        figure.savefig(content, format=form, metadata=FORMATS[form], dpi=dpi)
    return content.getvalue()


def render_titled(
    draw: Callable[["Figure"], object],
    *,
    title: str,
    height: float,
    form: str,
    dpi: float | None = None,
) -> bytes:
    """The same under a title, which is a name and no formula."""

    def titled(figure: "Figure") -> None:
        figure.suptitle(title, fontsize=8, parse_math=False)
        draw(figure)

    return render(titled, height=height, form=form, dpi=dpi)


def look(index: int) -> dict[str, Any]:
    """Colour and marker of the series at an index; the first 42 differ.

    >>> look(0), look(6)
    ({'color': '#0072B2', 'marker': 'o'}, {'color': '#0072B2', 'marker': 'X'})
    """
    return {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}
