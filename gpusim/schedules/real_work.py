"""What of the tiles of a launch is asked for: pairs of a query and a key that it sees."""

import numpy as np

from gpusim.schedules.columns import Floats, Ints
from gpusim.schedules.mask import Lengths, first_key, last_key
from gpusim.schedules.work import Work
from gpusim.spec.attention import Attention


def real_pairs(attention: Attention, work: Work) -> Floats:
    """Pairs of a row and a key that its query sees, in each row of a table of tiles.

    Rows of a tile without a query have none, nor have keys that the mask hides or that lie beyond
    the end of their sequence, though the kernel multiplies them all.

    Args:
        attention: the problem; its mask decides.
        work: items that walk KV tiles, of all sequences of the problem.
    """
    tiles, own = work.tiles, _lengths(attention, work)
    pairs = np.zeros(len(tiles))
    for row, offset in enumerate(work.row_offsets(int(tiles.q_rows.max()))):
        query = (tiles.q_start + offset) // work.packed
        low = np.maximum(first_key(attention, own, query), tiles.kv_start)
        high = np.minimum(last_key(attention, own, query) + 1, tiles.kv_stop)
        pairs += np.where(row < tiles.q_rows, np.maximum(0, high - low), 0)
    return pairs


def _lengths(attention: Attention, work: Work) -> Lengths:
    """Of each row of the table, the lengths of its sequence; of idle CTAs', those of the last."""
    entries = attention.sequences
    if work.stream is None:
        groups = np.minimum(np.arange(len(work.group_rows)), len(entries) - 1)
        entry: Ints = np.repeat(groups, work.group_rows)
    else:
        streams = [s.count * (attention.q_heads // work.packed) for s in entries]
        entry = np.zeros(len(work.tiles), dtype=np.int64)
        entry[work.order()] = np.repeat(np.arange(len(entries)), streams)[work.stream]
    q_len, kv_len = (np.array([getattr(s, name) for s in entries]) for name in ("q_len", "kv_len"))
    return Lengths(q_len[entry], kv_len[entry])
