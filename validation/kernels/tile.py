"""What every exact kernel does with one query tile: load it, walk its keys, merge and store.

Rows of a tile are packed: with PACK query heads in it, row r is query r // PACK of head
first_head + r % PACK, so that a group's heads read their keys and values once. The softmax is kept
online in base 2: after each KV tile

    m' = max(m, max s)    l' = l·2^(m-m') + Σ 2^(s-m')    acc' = acc·2^(m-m') + 2^(s-m') V

(Milakov and Gimelshein, arXiv 1805.02867; Dao, arXiv 2307.08691, section 3.1).
"""

import sys
from collections import Counter

import triton
import triton.language as tl

from gpusim.spec.attention import Attention, Sequence
from gpusim.units import ceil_div
from validation.kernels.cost import Cost

LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def span(starts, sequence):
    """First token of a sequence, and its length."""
    start = tl.load(starts + sequence)
    return start, tl.load(starts + sequence + 1) - start


@triton.jit
def row_offsets(rows, token, heads, first_head, PACK: tl.constexpr, HEAD_DIM: tl.constexpr):
    """Offset of each packed row in a [tokens, heads, HEAD_DIM] tensor from sequence start."""
    return ((token + rows // PACK) * heads + first_head + rows % PACK) * HEAD_DIM


@triton.jit
def load_rows(X, offsets, inside, HEAD_DIM: tl.constexpr):
    """[rows, HEAD_DIM], with zeros where a row is not inside."""
    dims = tl.arange(0, HEAD_DIM)
    return tl.load(X + offsets[:, None] + dims[None, :], mask=inside[:, None], other=0.0)


@triton.jit
def store_rows(X, offsets, inside, values, HEAD_DIM: tl.constexpr):
    """The inverse of `load_rows`, in the type of the tensor."""
    dims = tl.arange(0, HEAD_DIM)
    target = X + offsets[:, None] + dims[None, :]
    tl.store(target, values.to(X.dtype.element_ty), mask=inside[:, None])


@triton.jit
def limits(position, kv_len, CAUSAL: tl.constexpr, WINDOW: tl.constexpr):
    """First key that a query at this position sees, and one past its last."""
    low = tl.maximum(position - WINDOW + 1, 0) if WINDOW else 0 * position
    high = 0 * position + kv_len
    if WINDOW:
        high = tl.minimum(high, position + WINDOW)
    if CAUSAL:
        high = tl.minimum(high, position + 1)
    return low, tl.maximum(high, 0)


@triton.jit
def key_tiles(
    first, last, kv_len, CAUSAL: tl.constexpr, WINDOW: tl.constexpr, BLOCK_N: tl.constexpr
):
    """KV tiles [start, stop) that queries at positions first to last see any key of."""
    low, _ = limits(first, kv_len, CAUSAL, WINDOW)
    _, high = limits(last, kv_len, CAUSAL, WINDOW)
    start = low // BLOCK_N
    return start, tl.maximum(start, tl.cdiv(high, BLOCK_N))


@triton.jit
def walk_keys(
    q,
    position,
    K,
    V,
    kv_heads,
    kv_len,
    start,
    stop,
    CAUSAL: tl.constexpr,
    WINDOW: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Online softmax of a query tile over KV tiles [start, stop): acc, m, l.

    K and V point at the first key of the sequence and head. Every tile is masked: a branch around
    the mask makes Triton 3.6 pass the scores through shared memory on sm_80 and sm_89.

    Per KV tile: loads BLOCK_N rows of K and of V; 4·BLOCK_M·BLOCK_N·HEAD_DIM matrix FLOP.
    """
    scale = LOG2_E / (HEAD_DIM**0.5)
    m = tl.full([BLOCK_M], float("-inf"), tl.float32)
    l = tl.zeros([BLOCK_M], tl.float32)
    acc = tl.zeros([BLOCK_M, HEAD_DIM], tl.float32)
    low, high = limits(position, kv_len, CAUSAL, WINDOW)
    for tile in range(start, stop):
        keys = tile * BLOCK_N + tl.arange(0, BLOCK_N)
        offsets = keys * (kv_heads * HEAD_DIM)
        # -- scores --
        k = load_rows(K, offsets, keys < kv_len, HEAD_DIM)
        s = tl.dot(q, k.T)
        seen = keys[None, :] < high[:, None]
        if WINDOW:
            seen = seen & (keys[None, :] >= low[:, None])
        s = tl.where(seen, s, float("-inf"))
        # -- softmax --
        m_new = tl.maximum(m, tl.max(s, 1) * scale)
        base = tl.where(m_new == float("-inf"), 0.0, m_new)  # nothing seen yet: no inf - inf
        p = tl.exp2(s * scale - base[:, None])
        alpha = tl.exp2(m - base)
        l = l * alpha + tl.sum(p, 1)
        m = m_new
        # -- values --
        v = load_rows(V, offsets, keys < kv_len, HEAD_DIM)
        acc = tl.dot(p.to(v.dtype), v, acc * alpha[:, None])
    return acc, m, l


@triton.jit
def normalised(acc, m, l):
    """Output and natural log-sum-exp of a row; zero and -inf where it saw nothing."""
    share = tl.where(l > 0, 1.0 / tl.where(l > 0, l, 1.0), 0.0)
    return acc * share[:, None], tl.where(l > 0, (m + tl.log2(tl.where(l > 0, l, 1.0))) / LOG2_E, m)


@triton.jit
def merge(o, lse, other_o, other_lse):
    """Two partial outputs of the same rows, over different keys, as one."""
    top = tl.maximum(lse, other_lse)
    base = tl.where(top == float("-inf"), 0.0, top)
    own, others = tl.exp2((lse - base) * LOG2_E), tl.exp2((other_lse - base) * LOG2_E)
    total = own + others
    share = tl.where(total > 0, 1.0 / tl.where(total > 0, total, 1.0), 0.0)
    o = o * (own * share)[:, None] + other_o * (others * share)[:, None]
    return o, tl.where(total > 0, base + tl.log2(tl.where(total > 0, total, 1.0)) / LOG2_E, top)


def forward_cost(
    attention: Attention, *, block_m: int, block_n: int, packed: int = 1, num_splits: int = 1
) -> Cost:
    """FLOP and bytes of `load_rows`, `walk_keys` and `store_rows` over all query tiles and splits.

    A visited KV tile is multiplied whole and moved as far as it is real. A split that has none
    still loads its queries and stores its result.
    """
    d, size = attention.head_dim, attention.element_bytes
    tiles = keys = rows = 0
    for sequence in attention.sequences:
        heads = sequence.count * attention.q_heads // packed
        packed_rows = sequence.q_len * packed
        for first in range(0, packed_rows, block_m):
            ends = first // packed, (min(first + block_m, packed_rows) - 1) // packed
            start, stop = visited(attention, sequence, ends, block_n)
            share = ceil_div(ceil_div(sequence.kv_len, block_n), num_splits)
            for split in range(num_splits):
                low, high = max(start, split * share), min(stop, (split + 1) * share)
                if low < high:
                    tiles += heads * (high - low)
                    keys += heads * (min(high * block_n, sequence.kv_len) - low * block_n)
        rows += heads * packed_rows * num_splits
    result = 4 if num_splits > 1 else size
    return Cost(
        flop=4 * block_m * block_n * d * tiles,
        reads=Counter(Q=rows * d * size, K=keys * d * size, V=keys * d * size),
        writes=Counter(O=rows * d * result, LSE=rows * 4),
    )


def visited(
    attention: Attention, sequence: Sequence, queries: tuple[int, int], block_n: int
) -> tuple[int, int]:
    """`key_tiles` of a first and last query, in Python."""
    first, last = (query + sequence.kv_len - sequence.q_len for query in queries)
    window = attention.window or sys.maxsize
    high = min(sequence.kv_len, last + (1 if attention.causal else window))
    start = max(first - window + 1, 0) // block_n
    return start, max(start, ceil_div(max(high, 0), block_n))
