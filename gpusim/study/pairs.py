"""Two kernels measured on the same problem: whether the model picks the faster one."""

from collections.abc import Iterable, Sequence
from itertools import combinations
from statistics import median
from typing import Any, NamedTuple

from gpusim.study.measured import MeasuredRow
from gpusim.study.predict_row import Prediction

#: Kernels whose times differ by no more than this are as fast as each other.
LEAST_DIFFERENCE = 0.10


class Pair(NamedTuple):
    """Two kernels on a problem, whose measured times differ by enough to ask which is faster.

    `right` is whether the one measured to be faster is predicted to be.
    """

    gpu: str
    kernels: tuple[str, str]
    right: bool


def problem(row: MeasuredRow) -> tuple[Any, ...]:
    """What two rows have in common that ask the same of the same GPU.

    Pages are the framework's, not the problem's; types and sizes count as they come out.
    """
    a = row.attention
    types = (a.dtype, a.cache_dtype)
    sizes = (a.q_heads, a.kv_heads, a.head_dim, a.value_dim)
    return (row.gpu, row.l2, *types, *sizes, a.causal, a.window, a.sequences)


def pairs_of(predictions: Iterable[Prediction]) -> list[Pair]:
    """Pairs of kernels on one problem, measured to differ by more than 10 % of the faster one.

    A kernel with several rows on a problem stands for their median.
    """
    times: dict[tuple[Any, ...], dict[str, list[Prediction]]] = {}
    for p in predictions:
        times.setdefault(problem(p.row), {}).setdefault(p.row.kernel, []).append(p)
    found = []
    for kernels in times.values():
        middles = sorted(
            (_middle(rows), kernel, rows[0].row.gpu) for kernel, rows in kernels.items()
        )
        for ((fast, fast_predicted), one, gpu), ((slow, slow_predicted), other, _) in combinations(
            middles, 2
        ):
            if slow > (1 + LEAST_DIFFERENCE) * fast:
                kernel = (min(one, other), max(one, other))
                found.append(Pair(gpu, kernel, fast_predicted < slow_predicted))
    return found


def kernel_pairs(predictions: Iterable[Prediction]) -> dict[str, Any]:
    """How many such pairs there are, and the share that the model orders right; None of none."""
    return share_right(pairs_of(predictions))


def share_right(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Number of pairs and share of those in the right order."""
    right = sum(pair.right for pair in pairs)
    return {"pairs": len(pairs), "right": right / len(pairs) if pairs else None}


def _middle(rows: Sequence[Prediction]) -> tuple[float, float]:
    """Measured and predicted time of a kernel on a problem."""
    return median(p.row.measured_us for p in rows), median(p.predicted_us for p in rows)
