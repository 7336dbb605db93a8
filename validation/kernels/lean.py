"""LeanAttention in Triton: equal runs of KV tiles for every CTA (Stream-K), merged in the kernel.

All KV tiles of all outputs stand in one line that the workers share out evenly. The worker with an
output's first tile is its host: it waits for the partial results of the workers after it and merges
them. Sanovar, Bharadwaj et al. (arXiv 2405.10480, MLSys 2025); the plan is that of ONNX Runtime's
`lean_attention`, with each sequence's own length.

Only a CTA that has started may be waited for. CTAs start in the order of their ids, so workers are
numbered from the last CTA to the first, and a host waits for CTAs before it.
"""

from collections import Counter

import torch
import triton
import triton.language as tl

from gpusim.spec.attention import Attention
from validation.kernels.cost import Cost
from validation.kernels.lean_plan import Prepared, plan, prepare, run_start
from validation.kernels.problem import Problem, fits
from validation.kernels.tile import (
    load_rows,
    merge,
    normalised,
    row_offsets,
    span,
    store_rows,
    walk_keys,
)


@triton.jit
def first_tile(worker, tiles, workers):
    """Where a worker's run begins: the first `full` do `most` tiles, the others one less."""
    most = tl.cdiv(tiles, workers)
    full = tiles - (most - 1) * workers
    return tl.where(worker < full, most * worker, (most - 1) * worker + full)


@triton.jit(do_not_specialize=["q_heads", "kv_heads", "tiles"])
def lean_fwd(
    Q,
    K,
    V,
    O,
    PartialO,
    PartialLSE,
    flags,
    q_starts,
    kv_starts,
    outputs,
    first_output,
    q_heads,
    kv_heads,
    tiles,
    CAUSAL: tl.constexpr,
    WINDOW: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    PACK: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Grid (workers); rows of `outputs`: sequence, KV head, query tile, first KV tile, end."""
    workers = tl.num_programs(0)
    worker = workers - 1 - tl.program_id(0)
    at, stop = first_tile(worker, tiles, workers), first_tile(worker + 1, tiles, workers)
    output = tl.load(first_output + worker)
    local = tl.arange(0, BLOCK_M)
    while at < stop:
        # -- which output, which part of it --
        row = outputs + output * 5
        batch, kv_head, block = tl.load(row), tl.load(row + 1), tl.load(row + 2)
        kv_first, end = tl.load(row + 3), tl.load(row + 4)
        begin = tl.load(row - 1)
        segment_end = tl.minimum(stop, end)
        q_start, q_len = span(q_starts, batch)
        kv_start, kv_len = span(kv_starts, batch)
        first_row, num_rows, shift = block * BLOCK_M, q_len * PACK, kv_len - q_len
        rows = first_row + local
        inside = rows < num_rows
        # -- attention over the part --
        offsets = row_offsets(rows, q_start.to(tl.int64), q_heads, kv_head * PACK, PACK, HEAD_DIM)
        q = load_rows(Q, offsets, inside, HEAD_DIM)
        kv_base = (kv_start.to(tl.int64) * kv_heads + kv_head) * HEAD_DIM
        acc, m, l = walk_keys(
            q,
            rows // PACK + shift,
            K + kv_base,
            V + kv_base,
            kv_heads,
            kv_len,
            kv_first + at - begin,
            kv_first + segment_end - begin,
            CAUSAL,
            WINDOW,
            HEAD_DIM,
            BLOCK_M,
            BLOCK_N,
        )
        o, lse = normalised(acc, m, l)
        if at == begin:
            # -- host: merge the workers after this one, then write --
            peer, covered = worker + 1, segment_end
            while covered < end:
                while tl.atomic_add(flags + peer, 0, sem="acquire") == 0:
                    pass
                tl.debug_barrier()
                there = peer * BLOCK_M + local
                other = load_rows(PartialO, there * HEAD_DIM, inside, HEAD_DIM)
                statistic = tl.load(PartialLSE + there, mask=inside, other=float("-inf"))
                o, lse = merge(o, lse, other, statistic)
                tl.atomic_xchg(flags + peer, 0, sem="relaxed")  # as the next launch expects it
                covered = tl.minimum(end, first_tile(peer + 1, tiles, workers))
                peer += 1
            store_rows(O, offsets, inside, o, HEAD_DIM)
        else:
            # -- not the host: leave a partial result, then say so --
            there = worker * BLOCK_M + local
            store_rows(PartialO, there * HEAD_DIM, inside, o, HEAD_DIM)
            tl.store(PartialLSE + there, lse, mask=inside)
            tl.debug_barrier()
            tl.atomic_xchg(flags + worker, 1, sem="release")
        at = segment_end
        output += 1


def lean(
    problem: Problem,
    prepared: Prepared | None = None,
    /,
    *,
    block_m: int,
    block_n: int,
    num_warps: int,
    stages: int,
    workers: int,
) -> torch.Tensor:
    """Output [queries, q_heads, head_dim].

    With a plan `prepared` before, a call launches the kernel and does nothing else, so that a CUDA
    graph can capture it.

    Raises:
        ValueError: for more workers than KV tiles.
    """
    attention = fits(problem)
    line = prepared or prepare(problem, block_m=block_m, block_n=block_n, workers=workers)
    o, device = torch.empty_like(problem.q), problem.q.device
    partial_o = torch.empty((workers, block_m, attention.head_dim), device=device)
    partial_lse = torch.empty((workers, block_m), device=device)
    lean_fwd[(workers,)](
        problem.q,
        problem.k,
        problem.v,
        o,
        partial_o,
        partial_lse,
        line.flags,
        problem.q_starts,
        problem.kv_starts,
        line.outputs,
        line.first_output,
        attention.q_heads,
        attention.kv_heads,
        line.tiles,
        CAUSAL=attention.causal,
        WINDOW=attention.window or 0,
        HEAD_DIM=attention.head_dim,
        PACK=attention.group_size,
        BLOCK_M=block_m,
        BLOCK_N=block_n,
        num_warps=num_warps,
        num_stages=stages,
    )
    return o


def lean_cost(attention: Attention, *, block_m: int, block_n: int, workers: int) -> Cost:
    """Every part of an output loads its queries; all but the host's leave a partial result.

    A row of a partial result is its output in fp32 and its log-sum-exp.
    """
    d, size = attention.head_dim, attention.element_bytes
    line = plan(attention, block_m=block_m, block_n=block_n, workers=workers)
    lengths = [s for s in attention.sequences for _ in range(s.count)]
    starts = {run_start(worker, line.tiles, workers) for worker in range(workers)}
    queries = keys = partial = written = begin = 0
    for batch, _, block, kv_first, end in line.outputs[1:]:
        sequence = lengths[batch]
        rows = min(block_m, sequence.q_len * attention.group_size - block * block_m)
        parts = 1 + sum(begin < start < end for start in starts)
        queries += rows * parts
        partial += rows * (parts - 1)
        written += rows
        last = min((kv_first + end - begin) * block_n, sequence.kv_len)
        keys += max(0, last - kv_first * block_n)
        begin = end
    partials = Counter(PartialO=partial * d * 4, PartialLSE=partial * 4)
    return Cost(
        flop=4 * block_m * block_n * d * line.tiles,
        reads=partials + Counter(Q=queries * d * size, K=keys * d * size, V=keys * d * size),
        writes=partials + Counter(O=written * d * size),
    )
