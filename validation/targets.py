"""What accuracy is aimed at, and where it is reached: a table of the README.

A row belongs to the first group that it fits: kernels in Triton; an FP8 cache or FP8 attention;
then, in 16 bit, datasets that constants are fitted on, and the others.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from gpusim.study.accuracy import errors
from gpusim.study.predict_row import Prediction
from validation.tables import markdown, percent

#: Greatest median and 90th percentile of the error, by group.
TARGETS = {
    "fit sets, 16 bit": (0.04, 0.12),
    "hold-outs, 16 bit": (0.06, 0.18),
    "FP8": (0.07, 0.20),
    "Triton kernels": (0.08, 0.25),
}
#: Least rank correlation, of every group.
RANK = 0.99
COLUMNS = (
    "rows of|dataset|phase",
    "rows|median / target|p90 / target|rank corr.|targets",
)
TEXT = f"""\
Targets for the median and the 90th percentile, and for rank correlation {RANK} in all. A row counts
in the first group that it fits: Triton kernels, FP8 (cache or attention), else 16 bit.
"""


class Rows(NamedTuple):
    """Predictions of a dataset, and whether constants were fitted on it."""

    dataset: str
    fit: bool
    predictions: Sequence[Prediction]


def group_of(prediction: Prediction, *, fit: bool) -> str:
    """The group of TARGETS that a row belongs to."""
    attention = prediction.row.attention
    if "triton" in prediction.row.kernel:
        return "Triton kernels"
    if "fp8" in (attention.dtype, attention.cache_dtype):
        return "FP8"
    return "fit sets, 16 bit" if fit else "hold-outs, 16 bit"


def targets_table(datasets: Iterable[Rows]) -> str:
    """Each group as a whole, then by dataset and phase."""
    return f"{TEXT}\n{markdown(COLUMNS, _lines(datasets))}"


def _lines(datasets: Iterable[Rows]) -> Iterator[list[str]]:
    parts: dict[str, dict[tuple[str, str], list[Prediction]]] = {name: {} for name in TARGETS}
    for rows in datasets:
        for p in rows.predictions:
            part = parts[group_of(p, fit=rows.fit)]
            part.setdefault((f"`{rows.dataset}`", p.row.phase), []).append(p)
    for group, part in parts.items():
        if part:
            yield _line(f"**{group}**", ("all", ""), [p for ps in part.values() for p in ps], group)
        for names, predictions in sorted(part.items()):
            yield _line(group, names, predictions, group)


def _line(
    label: str, names: tuple[str, str], predictions: Sequence[Prediction], group: str
) -> list[str]:
    found = errors([p.predicted_us for p in predictions], [p.row.measured_us for p in predictions])
    median, tail = TARGETS[group]
    rank = found["spearman"]
    return [
        label,
        *names,
        f"{found['rows']:,}",
        f"{percent(found['median_ape'])} / {100 * median:.0f}",
        f"{percent(found['p90_ape'])} / {100 * tail:.0f}",
        "" if rank is None else f"{rank:.3f}",
        "met" if is_met(found, group) else "missed",
    ]


def is_met(found: dict[str, Any], group: str) -> bool:
    """Whether statistics reach all targets of a group; a rank that all tie in says nothing."""
    median, tail = TARGETS[group]
    close = found["median_ape"] <= median and found["p90_ape"] <= tail
    return close and (found["spearman"] is None or found["spearman"] >= RANK)
