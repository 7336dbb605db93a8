"""Scores and systematic sampling of one KV tile, for the query heads of one group.

A head draws B rows of a tile by their weights u, with one offset a in [0, 1): if F_r is the share
of the rows up to r in the sum of u, row r is drawn floor(a + B·F_r) - floor(a + B·F_(r-1)) times.
The mean of V over the draws is an unbiased estimate of the tile's weighted V. SANTA (arXiv
2605.01910). Heads are padded to the 16 rows of a matrix instruction.
"""

import triton
import triton.language as tl

from validation.kernels.tile import LOG2_E, load_rows

HEADS = tl.constexpr(16)


@triton.jit
def weights(Q, K, keys, kv_len, kv_heads, GROUP: tl.constexpr, HEAD_DIM: tl.constexpr):
    """Maximum m and sum l of each head, and weights u = 2^(s - m), [heads, keys]; 0 past the end.

    Loads each key once for the group; 2·16·keys·HEAD_DIM matrix FLOP.
    """
    heads = tl.arange(0, HEADS)
    q = load_rows(Q, heads * HEAD_DIM, heads < GROUP, HEAD_DIM)
    k = load_rows(K, keys * (kv_heads * HEAD_DIM), keys < kv_len, HEAD_DIM)
    s = tl.dot(q, k.T) * (LOG2_E / (HEAD_DIM**0.5))
    s = tl.where(keys[None, :] < kv_len, s, float("-inf"))
    m = tl.max(s, 1)
    u = tl.exp2(s - m[:, None])
    return m, tl.sum(u, 1), u


@triton.jit
def draws(u, budget, offset, BLOCK_N: tl.constexpr):
    """How often each row is drawn, [heads, keys]: `budget` times in all, whatever is rounded.

    Sums are telescoped, so that rounding may shift a draw between neighbours but not lose it.
    """
    below = tl.cumsum(u, 1)
    share = below / tl.max(below, 1)[:, None]  # 1 at the last row that weighs anything
    passed = tl.floor(offset[:, None] + share * budget[:, None])
    passed = tl.minimum(passed, budget[:, None])
    index = tl.broadcast_to(tl.arange(0, BLOCK_N)[None, :], [HEADS, BLOCK_N])
    before = tl.gather(passed, tl.maximum(index - 1, 0), 1)
    return passed - tl.where(index > 0, before, 0.0)


@triton.jit
def drawn_values(V, count, keys, kv_heads, HEAD_DIM: tl.constexpr):
    """Sum of V over the draws, [heads, HEAD_DIM]; loads the rows that any head has drawn.

    2·16·keys·HEAD_DIM matrix FLOP. Counts up to 256 are exact in bf16.
    """
    v = load_rows(V, keys * (kv_heads * HEAD_DIM), tl.max(count, 0) > 0, HEAD_DIM)
    return tl.dot(count.to(v.dtype), v)
