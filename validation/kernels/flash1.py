"""FlashAttention-1 in Triton: KV blocks outside, query rows inside.

A CTA takes a block of keys and values, walks all its query rows with it, and goes on to the next
block; between two passes the output lives in memory, in fp32 with one log-sum-exp a row.
Dao et al., "FlashAttention" (arXiv 2205.14135), in the form of the released kernel v1.0.9: 16 query
rows a step, blocks of 128 or 256 keys, query rows dealt out to splits in turn.
"""

from collections import Counter

import torch
import triton
import triton.language as tl

from gpusim.spec.attention import Attention
from gpusim.units import ceil_div
from validation.kernels.cost import Cost
from validation.kernels.problem import Problem, fits
from validation.kernels.tile import LOG2_E, load_rows, merge, normalised, span, store_rows

ROWS = 16  # query rows of a step, one matrix instruction


@triton.jit(do_not_specialize=["q_heads", "kv_heads", "splits"])
def flash1_fwd(
    Q,
    K,
    V,
    O,
    LSE,
    Scratch,
    q_starts,
    kv_starts,
    q_heads,
    kv_heads,
    splits,
    CAUSAL: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Grid (batch, query heads, query splits)."""
    batch, head, split = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    q_start, q_len = span(q_starts, batch)
    kv_start, kv_len = span(kv_starts, batch)
    kv_base = (kv_start.to(tl.int64) * kv_heads + head // (q_heads // kv_heads)) * HEAD_DIM
    shift, blocks = kv_len - q_len, tl.cdiv(q_len, BLOCK_M)
    passes = tl.cdiv(kv_len, BLOCK_N)
    scale = LOG2_E / (HEAD_DIM**0.5)
    for index in range(passes):
        # -- rows that see the block, and those that come back for the next one --
        begin = tl.maximum(index * BLOCK_N - shift, 0) // BLOCK_M if CAUSAL else 0
        next_begin = tl.maximum((index + 1) * BLOCK_N - shift, 0) // BLOCK_M if CAUSAL else 0
        next_begin = tl.where(index + 1 < passes, next_begin, blocks)
        first = begin + (split + splits - begin % splits) % splits
        if first < blocks:
            keys = index * BLOCK_N + tl.arange(0, BLOCK_N)
            offsets = keys * (kv_heads * HEAD_DIM)
            k = load_rows(K + kv_base, offsets, keys < kv_len, HEAD_DIM)
            v = load_rows(V + kv_base, offsets, keys < kv_len, HEAD_DIM)
            for block in range(first, blocks, splits):
                rows = block * BLOCK_M + tl.arange(0, BLOCK_M)
                inside = rows < q_len
                there = (q_start.to(tl.int64) + rows) * q_heads + head
                q = load_rows(Q, there * HEAD_DIM, inside, HEAD_DIM)
                # -- scores --
                s = tl.dot(q, k.T)
                seen = keys[None, :] < kv_len
                if CAUSAL:
                    seen = seen & (keys[None, :] <= rows[:, None] + shift)
                s = tl.where(seen, s, float("-inf"))
                # -- softmax and values of this block --
                m = tl.max(s, 1) * scale
                base = tl.where(m == float("-inf"), 0.0, m)
                p = tl.exp2(s * scale - base[:, None])
                acc = tl.dot(p.to(v.dtype), v)
                o, lse = normalised(acc, m, tl.sum(p, 1))
                # -- the passes before --
                if index > 0:
                    before = load_rows(Scratch, there * HEAD_DIM, inside, HEAD_DIM)
                    statistic = tl.load(LSE + there, mask=inside, other=float("-inf"))
                    o, lse = merge(before, statistic, o, lse)
                tl.debug_barrier()  # all have read what is now written again
                tl.store(LSE + there, lse, mask=inside)
                if block >= next_begin:
                    store_rows(Scratch, there * HEAD_DIM, inside, o, HEAD_DIM)
                else:
                    store_rows(O, there * HEAD_DIM, inside, o, HEAD_DIM)
        tl.debug_barrier()  # the next pass reads what other threads of the CTA have written


def flash1(
    problem: Problem, *, block_n: int, num_warps: int, stages: int, num_splits: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Output [queries, q_heads, head_dim], and log-sum-exp [queries, q_heads] in fp32.

    Raises:
        ValueError: for a window, which version 1 does not have.
    """
    attention = fits(problem)
    if attention.effective_window is not None:
        raise ValueError(f"window: expected none, found {attention.window}")
    o = torch.empty_like(problem.q)
    scratch = problem.q.new_empty(problem.q.shape, dtype=torch.float32)
    lse = problem.q.new_empty(problem.q.shape[:2], dtype=torch.float32)
    flash1_fwd[(problem.batch, attention.q_heads, num_splits)](
        problem.q,
        problem.k,
        problem.v,
        o,
        lse,
        scratch,
        problem.q_starts,
        problem.kv_starts,
        attention.q_heads,
        attention.kv_heads,
        num_splits,
        CAUSAL=attention.causal,
        HEAD_DIM=attention.head_dim,
        BLOCK_M=ROWS,
        BLOCK_N=block_n,
        num_warps=num_warps,
        num_stages=stages,
    )
    return o, lse


def flash1_cost(attention: Attention, *, block_n: int, num_splits: int) -> Cost:
    """A visited step multiplies 16 rows by all keys of the block, and moves the rows that are real.

    Every split with a row in a pass loads that block's keys; a row comes back for each pass but its
    first, with its output so far and log-sum-exp.
    """
    d, size = attention.head_dim, attention.element_bytes
    steps = keys = again = last = 0
    for sequence in attention.sequences:
        heads, blocks = sequence.count * attention.q_heads, ceil_div(sequence.q_len, ROWS)
        shift = sequence.kv_len - sequence.q_len
        for start in range(0, sequence.kv_len, block_n):
            begin = max(0, start - shift) // ROWS if attention.causal else 0
            rows = sequence.q_len - begin * ROWS
            steps += heads * (blocks - begin)
            keys += heads * min(num_splits, blocks - begin) * min(block_n, sequence.kv_len - start)
            again += heads * rows if start else 0
        last += heads * sequence.q_len
    visits = again + last
    return Cost(
        flop=4 * ROWS * block_n * d * steps,
        reads=Counter(
            Q=visits * d * size,
            K=keys * d * size,
            V=keys * d * size,
            Scratch=again * d * 4,
            LSE=again * 4,
        ),
        writes=Counter(O=last * d * size, Scratch=again * d * 4, LSE=visits * 4),
    )
