"""The page of `gpusim validate`."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gpusim.report.glossary import glossary
from gpusim.report.page import Card, Page, Section
from gpusim.report.page_figure import Figure
from gpusim.report.page_inputs import Inputs
from gpusim.report.page_table import Column, Table, errors, numbers, one_share, times, words
from gpusim.report.validate_figure import validation_figure

Row = Mapping[str, Any]

#: Predictions farthest off that have a row of their own.
FARTHEST = 15
#: Columns of the rows that the page keeps, as lists, so that many of them stay small.
_KEPT = ("gpu", "kernel", "phase", "batch", "q_len", "kv_len", "measured_us", "predicted_us")
_ASSUMPTIONS = (
    "Rows are predicted under the clocks of a benchmark: before the power limit acts, unless a row"
    " says how long it was repeated.",
    "Measurements repeat to about 1 %; between versions of a framework they differ by 5 to 20 %.",
    "Constants of the profiles were fitted on some datasets; the sources below name them. Errors on"
    " those sets say less than errors on the others.",
)


def validate_page(
    statistics: Mapping[str, Any],
    rows: Sequence[Row],
    trend: Sequence[tuple[float, float]],
    inputs: Inputs,
    *,
    title: str,
) -> Page:
    """The page of predictions against measurements.

    Args:
        statistics: their JSON form.
        rows: measured rows with their predictions, as CSV has them.
        trend: (measured us, median error).
        inputs: what it was run with.
        title: datasets and files, in a line.
    """
    figure = Figure(
        name="predicted",
        svg=validation_figure(rows, statistics, trend, title="", form="svg"),
        caption="Left, predicted over measured time; on the line both are equal, the band is 20 %."
        " Right, the error by measured time, and its median.",
        alt="Predicted against measured times, and errors by measured time.",
        rows=[dict(zip(("measured_us", "median_error"), point, strict=True)) for point in trend],
    )
    blocks = [
        Section(title="Errors", blocks=(_totals(statistics), figure)),
        Section(title="By kernel", blocks=(_groups(statistics["groups"]),)),
        Section(title="Farthest off", blocks=(_farthest(rows),)),
        Section(title="What was measured", blocks=(_sources(rows),)),
    ]
    if statistics["left_out"]:
        blocks.append(Section(title="Left out", blocks=(_left_out(statistics["left_out"]),)))
    return Page(
        kind="Predictions against measurements",
        title=title,
        answer=_answer(statistics),
        because=_because(statistics),
        cards=_cards(statistics),
        evidence=tuple(blocks),
        inputs=inputs,
        assumptions=_ASSUMPTIONS,
        glossary=glossary(["bias", "rank correlation", "90th percentile", "roofline", "load"]),
        results=statistics,
        more={"rows": {name: [row[name] for row in rows] for name in _KEPT}},
    )


def _answer(statistics: Row) -> str:
    return (
        f"Half of {statistics['rows']:,} predictions lie within"
        f" {one_share(statistics['median_ape'])} of the measurement, nine of ten within"
        f" {one_share(statistics['p90_ape'])}."
    )


def _because(statistics: Row) -> tuple[str, ...]:
    roofline, pairs = statistics["roofline"]["median_ape"], statistics["pairs"]
    sentences = [f"A plain roofline is off by {one_share(roofline)} at the median."]
    if statistics["without"]:
        sentences.insert(0, f"The model ran without {', '.join(statistics['without'])}.")
    if pairs["pairs"]:
        sentences.append(
            f"Of {pairs['pairs']:,} pairs of kernels measured on one problem, the faster one is"
            f" predicted to be the faster in {one_share(pairs['right'])} of them."
        )
    return tuple(sentences)


def _cards(statistics: Row) -> tuple[Card, ...]:
    rank = statistics["spearman"]
    return (
        _percent("Median error", statistics["median_ape"], "of predicted over measured time"),
        _percent("90th percentile", statistics["p90_ape"], "nine of ten errors are smaller"),
        _percent("Bias", statistics["bias"], "above 0: predicted times are too long", sign="+"),
        Card(
            label="Rank correlation",
            value="" if rank is None else f"{rank:.3f}",
            note="1 where all are in the right order",
        ),
    )


def _percent(label: str, value: float, note: str, sign: str = "") -> Card:
    text = f"{100 * value:{sign}.1f}".replace("-", "\N{MINUS SIGN}")
    return Card(label=label, value=text, unit="%", note=note)


def _totals(statistics: Row) -> Table:
    rows = (statistics, statistics["above_50us"])
    names = words("measured", ("all", "above 50 \N{MICRO SIGN}s"))
    return Table(caption="All rows", columns=(names, *_columns(rows)))


def _groups(groups: Sequence[Row]) -> Table:
    """A row per kernel, phase and size, under the name of the GPU."""
    return Table(
        caption="Errors by kernel, phase and measured time",
        columns=(
            words("kernel", (group["kernel"] for group in groups)),
            words("phase", (group["phase"] for group in groups)),
            words(
                "measured",
                (_size(group) for group in groups),
            ),
            *_columns(groups),
        ),
        groups=tuple(group["gpu"] for group in groups),
    )


def _columns(rows: Iterable[Row]) -> tuple[Column, ...]:
    found = list(rows)
    rank = ("" if row["spearman"] is None else f"{row['spearman']:.3f}" for row in found)
    return (
        numbers("rows", (row["rows"] for row in found)),
        errors("median", (row["median_ape"] for row in found)),
        errors("mean", (row["mean_ape"] for row in found)),
        errors("90th percentile", (row["p90_ape"] for row in found)),
        errors("bias", (row["bias"] for row in found), signed=True),
        Column("rank correlation", tuple(rank), right=True),
        errors("roofline median", (row["roofline"]["median_ape"] for row in found)),
    )


def _farthest(rows: Sequence[Row]) -> Table:
    """The rows with the greatest errors."""
    found = sorted(rows, key=lambda row: -abs(_error(row)))[:FARTHEST]
    lengths = ("batch", "q_len", "kv_len")
    return Table(
        caption=f"The {len(found)} rows with the greatest errors",
        columns=(
            words("kernel", (row["kernel"] for row in found)),
            words("GPU", (row["gpu"] for row in found)),
            words("phase", (row["phase"] for row in found)),
            *(numbers(name, (row[name] for row in found)) for name in lengths),
            words("heads", (_heads(row) for row in found)),
            times("measured", (row["measured_us"] for row in found)),
            times("predicted", (row["predicted_us"] for row in found)),
            errors(
                "error",
                (row["predicted_us"] / row["measured_us"] - 1 for row in found),
                signed=True,
            ),
            words("bound", (row["bound"] for row in found)),
        ),
    )


def _error(row: Row) -> float:
    return float(row["predicted_us"]) / float(row["measured_us"]) - 1


def _heads(row: Row) -> str:
    return f"{row['q_heads']}/{row['kv_heads']} x {row['head_dim']}"


def _size(group: Row) -> str:
    return str(group["size"]).replace(" us", " \N{MICRO SIGN}s")


def _sources(rows: Sequence[Row]) -> Table:
    counts = Counter(str(row["source"]) for row in rows)
    return Table(
        caption="Sources of the measured rows",
        columns=(
            words("source", counts, wraps=True),
            numbers("rows", counts.values()),
        ),
    )


def _left_out(rows: Sequence[Row]) -> Table:
    return Table(
        caption="Rows that cannot be predicted, and why",
        columns=(
            words("reason", (row["reason"] for row in rows), wraps=True),
            numbers("rows", (row["rows"] for row in rows)),
            words("of", (row["of"] for row in rows)),
        ),
    )
