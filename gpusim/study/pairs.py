"""Two kernels measured on the same problem: whether the model picks the faster one."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from statistics import median
from typing import Any, NamedTuple

from gpusim.study.measured import MeasuredRow
from gpusim.study.predict_row import Prediction

#: Kernels whose times differ by no more than this share of the faster one's are equally fast.
LEAST_DIFFERENCE = 0.10


class Pair(NamedTuple):
    """Two kernels on a problem, whose measured times differ by enough to ask which is faster.

    `kernels` are in the order of the alphabet; `right` is whether the one measured to be faster is
    predicted to be.
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


def differing(measured_us: Mapping[str, Sequence[float]]) -> list[tuple[str, str]]:
    """Kernels on one problem that differ by more than 10 %, the faster one first.

    A kernel of several rows stands for their median.

    >>> differing({"a": [1.5], "b": [1.0, 1.0, 9.0], "c": [1.05]})
    [('b', 'a'), ('c', 'a')]
    """
    times = sorted((median(us), kernel) for kernel, us in measured_us.items())
    return [
        (kernel, other)
        for (fast, kernel), (slow, other) in combinations(times, 2)
        if slow > (1 + LEAST_DIFFERENCE) * fast
    ]


def pairs_of(predictions: Iterable[Prediction]) -> list[Pair]:
    """All such pairs among predictions."""
    problems: dict[tuple[Any, ...], dict[str, list[Prediction]]] = {}
    for p in predictions:
        problems.setdefault(problem(p.row), {}).setdefault(p.row.kernel, []).append(p)
    found = []
    for (gpu, *_), kernels in problems.items():
        measured = {kernel: [p.row.measured_us for p in rows] for kernel, rows in kernels.items()}
        predicted = {k: median(p.predicted_us for p in rows) for k, rows in kernels.items()}
        for fast, slow in differing(measured):
            names = (min(fast, slow), max(fast, slow))
            found.append(Pair(gpu, names, predicted[fast] < predicted[slow]))
    return found


def share_right(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Number of pairs, and the share that the model orders right; None of none."""
    right = sum(pair.right for pair in pairs)
    return {"pairs": len(pairs), "right": right / len(pairs) if pairs else None}
