"""Split-KV attention ("flash-decoding") in Triton: several CTAs share a query tile's keys.

The split kernel writes a normalised fp32 output and its log-sum-exp per split; the combine kernel
adds them up. Query heads of a group are packed into the rows of a tile, so that keys and values are
read once a group. After FlashAttention-2's `flash_fwd_splitkv` and `combine` kernels.
"""

from collections import Counter

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
    merge,
    normalised,
    row_offsets,
    span,
    store_rows,
    walk_keys,
)


@triton.jit(do_not_specialize=["q_heads", "kv_heads", "splits", "queries"])
def split_fwd(
    Q,
    K,
    V,
    O,
    LSE,
    q_starts,
    kv_starts,
    q_heads,
    kv_heads,
    splits,
    queries,
    CAUSAL: tl.constexpr,
    WINDOW: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    PACK: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Grid (tiles of packed rows of the longest sequence, splits, batch x KV heads)."""
    split, batch = tl.program_id(1), tl.program_id(2) // kv_heads
    kv_head = tl.program_id(2) % kv_heads
    q_start, q_len = span(q_starts, batch)
    kv_start, kv_len = span(kv_starts, batch)
    first_row, num_rows = tl.program_id(0) * BLOCK_M, q_len * PACK
    if first_row >= num_rows:
        return
    rows = first_row + tl.arange(0, BLOCK_M)
    shift = kv_len - q_len
    first = first_row // PACK + shift
    last = (tl.minimum(first_row + BLOCK_M, num_rows) - 1) // PACK + shift
    start, stop = key_tiles(first, last, kv_len, CAUSAL, WINDOW, BLOCK_N)
    share = tl.cdiv(tl.cdiv(kv_len, BLOCK_N), splits)
    start = tl.maximum(start, split * share)
    stop = tl.minimum(stop, (split + 1) * share)
    # -- prologue --
    offsets = row_offsets(rows, q_start.to(tl.int64), q_heads, kv_head * PACK, PACK, HEAD_DIM)
    q = load_rows(Q, offsets, rows < num_rows, HEAD_DIM)
    kv_base = (kv_start.to(tl.int64) * kv_heads + kv_head) * HEAD_DIM
    # -- main loop --
    acc, m, l = walk_keys(
        q,
        rows // PACK + shift,
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
    offsets += split.to(tl.int64) * queries * q_heads * HEAD_DIM
    store_rows(O, offsets, rows < num_rows, o, HEAD_DIM)
    tl.store(LSE + offsets // HEAD_DIM, lse, mask=rows < num_rows)


@triton.jit(do_not_specialize=["num_rows", "splits"])
def combine(
    PartialO,
    PartialLSE,
    O,
    LSE,
    num_rows,
    splits,
    HEAD_DIM: tl.constexpr,
    BLOCK_M: tl.constexpr,
):
    """Grid (tiles of rows): a serial walk over the splits; a row is a query and head."""
    rows = tl.program_id(0).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    inside = rows < num_rows
    o = tl.zeros([BLOCK_M, HEAD_DIM], tl.float32)
    lse = tl.full([BLOCK_M], float("-inf"), tl.float32)
    for split in range(splits):
        there = rows + split * num_rows
        part = load_rows(PartialO, there * HEAD_DIM, inside, HEAD_DIM)
        o, lse = merge(o, lse, part, tl.load(PartialLSE + there, mask=inside, other=float("-inf")))
    store_rows(O, rows * HEAD_DIM, inside, o, HEAD_DIM)
    tl.store(LSE + rows, lse, mask=inside)


def split_kv(
    problem: Problem,
    *,
    block_m: int,
    block_n: int,
    num_warps: int,
    stages: int,
    num_splits: int,
    combine_rows: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Output [queries, q_heads, head_dim], and log-sum-exp [queries, q_heads] in fp32.

    With one split there is nothing to combine: the split kernel writes the output itself.
    """
    attention = fits(problem)
    queries, q_heads, head_dim = problem.q.shape
    o, lse = (
        torch.empty_like(problem.q),
        problem.q.new_empty((queries, q_heads), dtype=torch.float32),
    )
    splits = (num_splits, queries, q_heads)
    parts = (
        (o, lse) if num_splits == 1 else (lse.new_empty((*splits, head_dim)), lse.new_empty(splits))
    )
    rows = max(problem.q_lens) * attention.group_size
    grid = (triton.cdiv(rows, block_m), num_splits, problem.batch * attention.kv_heads)
    split_fwd[grid](
        problem.q,
        problem.k,
        problem.v,
        *parts,
        problem.q_starts,
        problem.kv_starts,
        q_heads,
        attention.kv_heads,
        num_splits,
        queries,
        CAUSAL=attention.causal,
        WINDOW=attention.window or 0,
        HEAD_DIM=head_dim,
        PACK=attention.group_size,
        BLOCK_M=block_m,
        BLOCK_N=block_n,
        num_warps=num_warps,
        num_stages=stages,
    )
    if num_splits > 1:
        combine[(triton.cdiv(queries * q_heads, combine_rows),)](
            *parts,
            o,
            lse,
            queries * q_heads,
            num_splits,
            HEAD_DIM=head_dim,
            BLOCK_M=combine_rows,
            num_warps=4,
            num_stages=1,
        )
    return o, lse


def split_kv_cost(
    attention: Attention, *, block_m: int, block_n: int, num_splits: int
) -> tuple[Cost, ...]:
    """The split kernel's, and the combine kernel's if it runs: a row is a query and head."""
    split = forward_cost(
        attention,
        block_m=block_m,
        block_n=block_n,
        packed=attention.group_size,
        num_splits=num_splits,
    )
    if num_splits == 1:
        return (split,)
    rows = sum(s.count * s.q_len for s in attention.sequences) * attention.q_heads
    merged = Cost(
        reads=Counter(PartialO=split.writes["O"], PartialLSE=split.writes["LSE"]),
        writes=Counter(O=rows * attention.head_dim * attention.element_bytes, LSE=rows * 4),
    )
    return split, merged
