"""FlashAttention-2 in Triton: a CTA per query tile, online softmax over its keys.

Dao, "FlashAttention-2" (arXiv 2307.08691). Causal masks and sliding windows are aligned at the last
key and query; heads of a group share keys and values; sequences of a batch may differ in length.
Run with `python -m validation.measure --kernel gpusim_triton_flash2`.
"""

import torch
import triton
import triton.language as tl

from gpusim.spec.attention import Attention
from validation.kernels.cost import Cost
from validation.kernels.problem import Problem, fits
from validation.kernels.tile import (
    forward_cost,
    key_tiles,
    load_rows,
    normalised,
    row_offsets,
    span,
    store_rows,
    walk_keys,
)


@triton.jit(do_not_specialize=["q_heads", "kv_heads"])
def flash2_fwd(
    Q,
    K,
    V,
    O,
    LSE,
    q_starts,
    kv_starts,
    q_heads,
    kv_heads,
    CAUSAL: tl.constexpr,
    WINDOW: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Grid (query tiles of the longest sequence, batch, query heads)."""
    batch, head = tl.program_id(1), tl.program_id(2)
    q_start, q_len = span(q_starts, batch)
    kv_start, kv_len = span(kv_starts, batch)
    first_row = tl.program_id(0) * BLOCK_M
    if first_row >= q_len:
        return
    rows = first_row + tl.arange(0, BLOCK_M)
    shift = kv_len - q_len
    first, last = first_row + shift, tl.minimum(first_row + BLOCK_M, q_len) - 1 + shift
    start, stop = key_tiles(first, last, kv_len, CAUSAL, WINDOW, BLOCK_N)
    # -- prologue --
    offsets = row_offsets(rows, q_start.to(tl.int64), q_heads, head, 1, HEAD_DIM)
    q = load_rows(Q, offsets, rows < q_len, HEAD_DIM)
    kv_base = (kv_start.to(tl.int64) * kv_heads + head // (q_heads // kv_heads)) * HEAD_DIM
    # -- main loop --
    acc, m, l = walk_keys(
        q,
        rows + shift,
        K + kv_base,
        V + kv_base,
        kv_heads,
        kv_len,
        start,
        stop,
        CAUSAL,
        WINDOW,
        HEAD_DIM,
        BLOCK_M,
        BLOCK_N,
    )
    # -- epilogue --
    o, lse = normalised(acc, m, l)
    store_rows(O, offsets, rows < q_len, o, HEAD_DIM)
    tl.store(LSE + offsets // HEAD_DIM, lse, mask=rows < q_len)


def flash2(
    problem: Problem, *, block_m: int, block_n: int, num_warps: int, stages: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Output [queries, q_heads, head_dim], and log-sum-exp [queries, q_heads] in fp32."""
    attention = fits(problem)
    o, lse = (
        torch.empty_like(problem.q),
        problem.q.new_empty(problem.q.shape[:2], dtype=torch.float32),
    )
    grid = (triton.cdiv(max(problem.q_lens), block_m), problem.batch, attention.q_heads)
    flash2_fwd[grid](
        problem.q,
        problem.k,
        problem.v,
        o,
        lse,
        problem.q_starts,
        problem.kv_starts,
        attention.q_heads,
        attention.kv_heads,
        CAUSAL=attention.causal,
        WINDOW=attention.window or 0,
        HEAD_DIM=attention.head_dim,
        BLOCK_M=block_m,
        BLOCK_N=block_n,
        num_warps=num_warps,
        num_stages=stages,
    )
    return o, lse


def flash2_cost(attention: Attention, *, block_m: int, block_n: int) -> Cost:
    """Matrix FLOP and bytes: whole tiles are multiplied, real rows are moved."""
    return forward_cost(attention, block_m=block_m, block_n=block_n)
