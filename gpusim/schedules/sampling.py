"""How many value rows systematic sampling reads (SANTA, arXiv 2605.01910).

A query head draws S rows of a tile by their attention weights p (Σ p = 1) with one uniform offset a
in [0, 1): with P_r = p_1 + ... + p_r, row r is drawn floor(a + S·P_r) - floor(a + S·P_(r-1)) times.
It is read if that count is not zero, however great it is, so

    P(row r is read)     = min(1, S·p_r)
    E[rows of one head]  = Σ_r min(1, S·p_r)
    E[rows of any head]  = Σ_r [1 - Π_g (1 - min(1, S·p_(r,g)))]      (offsets are independent)

Weights depend on the data. Here logits are independent normal variables with a standard deviation
`sigma`, in every head, so that p = exp(sigma·z) / Σ exp(sigma·z). Real heads share some of their
important rows, which lowers the union.
"""

from functools import lru_cache

import numpy as np

from gpusim.schedules.columns import Floats

#: Normal variates behind one expectation: its relative error is below 1% up to sigma 4.
VARIATES = 2**19
SEED = 1690  # the release's own


def read_chance(logits: Floats, samples: float) -> Floats:
    """P(row is read) of each row; rows of a tile along the last axis.

    >>> read_chance(np.log([[2.0, 1.0, 1.0]]), 2).tolist()
    [[1.0, 0.5, 0.5]]
    """
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(np.minimum(1.0, samples * weights / weights.sum(axis=-1, keepdims=True)))


@lru_cache(maxsize=1024)
def distinct_rows(rows: int, samples: float, sigma: float) -> float:
    """E[rows that one head reads] of a tile of `rows` keys: the mean over random tiles.

    The random numbers are always the same, so that equal arguments give equal results. A range of
    more than `VARIATES` keys is taken for a shorter one with as many samples a key.

    >>> distinct_rows(256, 16, 0.0)
    16.0
    """
    if sigma == 0:
        return float(min(rows, samples))
    keys = min(rows, VARIATES)
    generator = np.random.default_rng(SEED)
    logits = sigma * generator.standard_normal((max(1, VARIATES // keys), keys))
    return float(read_chance(logits, samples * keys / rows).mean() * rows)


def union_rows(rows: int, distinct: float, heads: int) -> float:
    """E[rows that any of `heads` heads reads], if each reads `distinct` of `rows`.

    Independent logits make each row as likely in every head: rows·[1 - (1 - distinct/rows)^heads].
    The examples are for 16 samples a tile of 256 keys and 4 heads; sigma is 0, 2, 3 and 4.

    >>> [round(union_rows(256, distinct_rows(256, 16, s), 4), 1) for s in (0.0, 2.0, 3.0, 4.0)]
    [58.2, 49.6, 35.3, 25.6]
    """
    return rows * (1 - (1 - distinct / rows) ** heads)
