"""Which keys a query sees, and which KV tiles a query tile therefore walks.

Query i of a sequence stands at position p = i + kv_len - q_len. It sees keys lo..hi:

    lo = max(0, p - window + 1)         or 0 without a window
    hi = p                              under a causal mask
         min(kv_len - 1, p + window - 1) under a window that is not causal, else kv_len - 1
"""

from dataclasses import dataclass

import numpy as np

from gpusim.schedules.columns import Ints
from gpusim.spec.attention import Attention, Sequence


@dataclass(frozen=True, slots=True)
class Lengths:
    """Lengths of many sequences: for each query that is asked about, those of its own."""

    q_len: Ints
    kv_len: Ints


def first_key(attention: Attention, seq: Sequence | Lengths, query: Ints) -> Ints:
    """First key that each query sees."""
    if attention.window is None:
        return 0 * query
    first: Ints = query + seq.kv_len - seq.q_len - attention.window + 1
    return np.maximum(0, first)


def last_key(attention: Attention, seq: Sequence | Lengths, query: Ints) -> Ints:
    """Last key that each query sees."""
    position: Ints = query + seq.kv_len - seq.q_len
    if attention.causal:
        return position
    if attention.window is not None:
        return np.minimum(seq.kv_len - 1, position + attention.window - 1)
    return np.full_like(query, seq.kv_len - 1)


def block_range(
    attention: Attention, seq: Sequence | Lengths, first_query: Ints, last_query: Ints, block_n: int
) -> tuple[Ints, Ints]:
    """KV tiles [start, stop) that a tile of queries must visit.

    >>> seq = Sequence(q_len=256, kv_len=256)
    >>> a = Attention(q_heads=1, kv_heads=1, head_dim=64, sequences=(seq,))
    >>> start, stop = block_range(a, seq, np.array([0, 128]), np.array([127, 255]), 64)
    >>> start.tolist(), stop.tolist()
    ([0, 0], [2, 4])
    """
    start = first_key(attention, seq, first_query) // block_n
    stop = last_key(attention, seq, last_query) // block_n + 1
    return start, np.maximum(start, stop)


def allowed_pairs(attention: Attention, seq: Sequence) -> int:
    """(query, key) pairs that the mask allows in one sequence and head, in closed form."""
    window = attention.window
    first, last = seq.kv_len - seq.q_len, seq.kv_len - 1
    if window is not None and not attention.causal:
        first = max(first, 1 - window)  # queries further before the first key see nothing
    if attention.causal:
        highest = _sum(first, last)
    elif window is not None:
        # min(kv_len - 1, p + window - 1): linear up to p = kv_len - window, then flat
        knee = min(max(seq.kv_len - window, first - 1), last)
        highest = _sum(first, knee) + (knee - first + 1) * (window - 1) + (last - knee) * last
    else:
        highest = (last - first + 1) * last
    lowest = 0
    if window is not None:  # max(0, p - window + 1): zero up to p = window - 1
        start = max(first, window)
        lowest = _sum(start, last) - (last - start + 1) * (window - 1) if start <= last else 0
    return highest - lowest + last - first + 1


def _sum(first: int, last: int) -> int:
    """first + ... + last, and 0 if there is none."""
    return (first + last) * (last - first + 1) // 2 if last >= first else 0


def useful_flop(attention: Attention) -> float:
    """FLOP of QKᵀ and PV over the allowed pairs: 2·(d + dv) a pair and query head."""
    pairs = sum(s.count * allowed_pairs(attention, s) for s in attention.sequences)
    return 2.0 * (attention.head_dim + attention.value_dim) * pairs * attention.q_heads


def seen_keys(attention: Attention, seq: Sequence) -> int:
    """Keys of a sequence that any of its queries sees (they form one range, up to its end).

    Those of its first query's window, and one more for each further query.
    """
    if attention.window is None:
        return seq.kv_len
    return min(seq.kv_len, attention.window + seq.q_len - 1)


def q_bytes(attention: Attention) -> float:
    """Bytes of all queries."""
    tokens = sum(s.count * s.q_len for s in attention.sequences)
    return float(tokens * attention.q_heads * attention.head_dim * attention.element_bytes)


def o_bytes(attention: Attention) -> float:
    """Bytes of the whole output."""
    tokens = sum(s.count * s.q_len for s in attention.sequences)
    return float(tokens * attention.q_heads * attention.value_dim * attention.output_bytes)


def kv_bytes(attention: Attention) -> float:
    """Bytes of the keys and values that the mask lets any query see."""
    tokens = sum(s.count * seen_keys(attention, s) for s in attention.sequences)
    return float(tokens * attention.kv_heads * attention.kv_row_bytes)


def compulsory_bytes(attention: Attention) -> float:
    """Bytes that must cross HBM once when L2 starts cold: Q, the keys and values seen, O."""
    return q_bytes(attention) + kv_bytes(attention) + o_bytes(attention)
