"""How far predictions lie from measurements, in numbers that need no table of tests."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

#: Rows above this are read apart: below it, launch gaps and caches of the host weigh most.
FLOOR_US = 50.0
#: Sizes by measured time: name and the greatest time in it.
SIZES = (("up to 50 us", FLOOR_US), ("50 us to 1 ms", 1e3), ("above 1 ms", float("inf")))

#: Of the error along measured time: bins, and the rows that a bin needs.
BINS_PER_DECADE, LEAST_ROWS = 4, 3


def errors(predicted: Sequence[float], measured: Sequence[float]) -> dict[str, Any]:
    """Statistics of predictions against measurements.

    `ape` is |predicted / measured - 1|, `bias` the median of predicted / measured, less one, and
    `spearman` the rank correlation (None where all ranks tie).

    >>> errors([1.1, 1.8, 3.0], [1.0, 2.0, 3.0])["median_ape"].__round__(6)
    0.1
    """
    count = len(measured)
    if not count:
        names = ("median_ape", "mean_ape", "p90_ape", "bias", "spearman")
        return {"rows": 0} | dict.fromkeys(names)
    ratio = np.asarray(predicted, float) / np.asarray(measured, float)
    ape = np.abs(ratio - 1)
    return {
        "rows": count,
        "median_ape": float(np.median(ape)),
        "mean_ape": float(np.mean(ape)),
        "p90_ape": float(np.percentile(ape, 90)),
        "bias": float(np.median(ratio)) - 1,
        "spearman": spearman(predicted, measured),
    }


def median_errors(
    predicted: Sequence[float], measured: Sequence[float]
) -> list[tuple[float, float]]:
    """Median of predicted / measured - 1 by measured time: (middle of the bin, median).

    Bins are quarters of a decade; those of fewer than three rows say nothing and are left out.

    >>> [(round(us, 1), round(e, 6)) for us, e in median_errors([1.2, 2, 1.3, 90], [1, 1, 1, 100])]
    [(1.3, 0.3)]
    """
    times = np.asarray(measured, float)
    ratio = np.asarray(predicted, float) / times - 1
    bins = np.floor(BINS_PER_DECADE * np.log10(times))
    return [
        (float(10 ** ((b + 0.5) / BINS_PER_DECADE)), float(np.median(ratio[bins == b])))
        for b in np.unique(bins)
        if np.count_nonzero(bins == b) >= LEAST_ROWS
    ]


def spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Rank correlation; ties take the mean of their ranks.

    >>> spearman([1, 2, 3], [10, 30, 20])
    0.5
    """
    x, y = (ranks(values) - (len(values) + 1) / 2 for values in (a, b))
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / scale if scale else None


def ranks(values: Sequence[float]) -> Vector:
    """Ranks from 1; equal values share the mean of theirs.

    >>> ranks([5, 1, 5]).tolist()
    [2.5, 1.0, 2.5]
    """
    _, place, counts = np.unique(np.asarray(values, float), return_inverse=True, return_counts=True)
    mean: Vector = np.cumsum(counts) - (counts - 1) / 2
    return mean[place]


def size_of(measured_us: float) -> str:
    """The size that a measured time falls in.

    >>> size_of(50), size_of(50.1)
    ('up to 50 us', '50 us to 1 ms')
    """
    return next(name for name, greatest in SIZES if measured_us <= greatest)
