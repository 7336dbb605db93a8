"""The figure of `gpusim validate`: predicted against measured, and the error by size."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

from gpusim.errors import plain
from gpusim.report.figures import look, render
from gpusim.units import ceil_div

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rows = Sequence[Mapping[str, Any]]
#: Drawn as a band on both sides of a perfect prediction.
BAND = 0.2
#: Series with a colour of their own; the kernels and phases with fewest rows share one.
MAX_SERIES = 12
OTHERS = "others"
#: The legend has at most so many columns, and fewer where its names are long. The panels keep their
#: size: the figure is the higher, by inches, for each row of the legend above the fourth.
MAX_COLUMNS, FREE_ROWS, ROW_HEIGHT = 4, 4, 0.15
#: Share of the figure's width that the legend may take: text is wider at some resolutions.
LEGEND_WIDTH = 0.98
#: From so many points on, vector formats hold them as a picture.
MAX_VECTOR_POINTS = 2000
#: Of so many, a part of each series is drawn in turn, so that the last does not hide the others.
TURNS = 16
#: The error axis reaches at least this far, and no further up than the second.
LEAST_ERROR, GREATEST_ERROR = 0.3, 2.0


def validation_figure(
    rows: Rows,
    statistics: Mapping[str, Any],
    trend: Sequence[tuple[float, float]],
    *,
    title: str,
    form: str,
) -> bytes:
    """Two panels of the rows that `--output` writes, as a file in the format `form`.

    Args:
        rows: measured rows with `predicted_us`.
        statistics: of these rows, as `gpusim validate` prints them.
        trend: (measured us, median error) along the second panel.
        title: datasets and engine.
        form: 'png', 'svg' or 'pdf'.
    """
    series = _series(rows)

    def draw(figure: "Figure") -> None:
        ratio, error = figure.subplots(1, 2)
        _draw_ratio(ratio, series)
        _draw_error(error, series, trend)
        figure.suptitle(f"{title}\n{_summary(statistics)}", parse_math=False, fontsize=8)
        _draw_legend(figure, list(series), with_trend=bool(trend))

    return render(draw, height=3.8, form=form)


def _series(rows: Rows) -> dict[str, Rows]:
    """Rows by kernel and phase; those with most rows first, so that they lie below."""
    counts = Counter(_name(row) for row in rows)
    own = {name for name, _ in counts.most_common(MAX_SERIES)}
    grouped: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        name = _name(row)
        grouped.setdefault(name if name in own else OTHERS, []).append(row)
    return dict(sorted(grouped.items(), key=lambda item: (item[0] == OTHERS, -len(item[1]))))


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['kernel']}, {plain(row['phase'])[:24]}"


def _looks(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """By name in the alphabet, so that a series keeps its look when its share changes."""
    ordered = sorted(name for name in names if name != OTHERS)
    return {name: look(index) for index, name in enumerate(ordered)} | {OTHERS: _OTHERS_LOOK}


def _draw_ratio(axes: "Axes", series: Mapping[str, Rows]) -> None:
    _scatter(axes, series, lambda row: float(row["predicted_us"]))
    times = [row[k] for rows in series.values() for row in rows for k in _TIMES]
    ends = [min(times) / 1.5, max(times) * 1.5]
    low, high = ([(1 + side * BAND) * end for end in ends] for side in (-1, 1))
    axes.fill_between(ends, low, high, **_BAND_LOOK)
    axes.plot(ends, ends, **_LINE_LOOK)
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends, aspect="equal")
    axes.set(xlabel="measured [us]", ylabel="predicted [us]")


def _draw_error(
    axes: "Axes", series: Mapping[str, Rows], trend: Sequence[tuple[float, float]]
) -> None:
    errors = [_error(row) for rows in series.values() for row in rows]
    top, bottom = min(max([LEAST_ERROR, *errors]), GREATEST_ERROR), min([-LEAST_ERROR, *errors])
    _scatter(axes, series, lambda row: 100 * min(_error(row), top))
    axes.axhspan(-100 * BAND, 100 * BAND, **_BAND_LOOK)
    axes.axhline(0, **_LINE_LOOK)
    if trend:
        times, medians = zip(*trend, strict=True)
        shown = [100 * m for m in medians]
        axes.plot(times, shown, color="white", linewidth=2.2, zorder=4)
        axes.plot(times, shown, color="black", marker="o", markersize=2.5, zorder=5)
    axes.set(xscale="log", ylim=(108 * bottom, 108 * top))
    axes.set(xlabel="measured [us]", ylabel="error: predicted / measured \N{MINUS SIGN} 1 [%]")
    axes.yaxis.set_major_formatter(_percent)
    above = sum(error > top for error in errors)
    if above:
        note = f"{above} above, up to {100 * max(errors):+.0f}%"
        axes.annotate(
            note, (0.99, 0.985), xycoords="axes fraction", ha="right", va="top", fontsize=7
        )


def _scatter(
    axes: "Axes", series: Mapping[str, Rows], value: Callable[[Mapping[str, Any]], float]
) -> None:
    count = sum(map(len, series.values()))
    looks = _looks(list(series))
    turns = TURNS if count > MAX_VECTOR_POINTS else 1
    for turn, (name, rows) in product(range(turns), series.items()):
        axes.scatter(
            [row["measured_us"] for row in rows[turn::turns]],
            [value(row) for row in rows[turn::turns]],
            s=min(14.0, max(0.8, 14 * (200 / count) ** 0.5)),
            alpha=min(0.85, max(0.2, 0.85 * (200 / count) ** 0.25)),
            linewidths=0,
            rasterized=turns > 1,
            zorder=3,
            **looks[name],
        )


def _draw_legend(figure: "Figure", names: Sequence[str], *, with_trend: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    looks = _looks(names)
    handles: list[Any] = [
        Line2D([], [], linestyle="", markersize=4, label=name, **looks[name])
        for name in sorted(names, key=lambda name: (name == OTHERS, name))
    ]
    handles.append(Patch(label=f"within {100 * BAND:.0f}%", **_BAND_LOOK))
    if with_trend:
        handles.append(Line2D([], [], color="black", marker="o", markersize=2.5, label="median"))
    for most in range(MAX_COLUMNS, 0, -1):
        rows = ceil_div(len(handles), most)
        columns = ceil_div(len(handles), rows)
        legend = figure.legend(handles=handles, loc="outside lower center", ncols=columns)
        for text in legend.get_texts():
            text.set_parse_math(False)
        if most == 1 or legend.get_window_extent().width <= LEGEND_WIDTH * figure.bbox.width:
            break
        legend.remove()
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + ROW_HEIGHT * max(0, rows - FREE_ROWS))


def _summary(statistics: Mapping[str, Any]) -> str:
    median, tail = (100 * statistics[name] for name in ("median_ape", "p90_ape"))
    return (
        f"{statistics['rows']} rows, absolute error: median {median:.1f}%,"
        f" 90th percentile {tail:.1f}%"
    )


def _percent(value: float, _: object = None) -> str:
    """A signed tick.

    >>> _percent(20), _percent(0), _percent(-20)
    ('+20', '0', '\N{MINUS SIGN}20')
    """
    return f"{value:+.0f}".replace("-", "\N{MINUS SIGN}") if value else "0"


def _error(row: Mapping[str, Any]) -> float:
    return float(row["predicted_us"]) / float(row["measured_us"]) - 1


_TIMES = ("measured_us", "predicted_us")
_OTHERS_LOOK: dict[str, Any] = {"color": "0.55", "marker": "."}
_BAND_LOOK: dict[str, Any] = {"color": "0.85", "alpha": 0.6, "linewidth": 0, "zorder": 1}
_LINE_LOOK: dict[str, Any] = {"color": "0.35", "linewidth": 0.8, "zorder": 2}
