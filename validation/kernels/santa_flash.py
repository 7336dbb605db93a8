"""S²ANTA-flash in Triton: exact scores, sampled values, tile by tile, then a merge over the tiles.

Every tile and head draws the same number of rows, so no tile waits for another. SANTA (arXiv
2605.01910), release `flash_style_fused_santa_fixed_tile_budgets`; unlike it, scores and sampled
values use tensor cores, and a row that several heads of the group have drawn is loaded once.
"""

from collections import Counter

import torch
import triton
import triton.language as tl

from gpusim.spec.attention import Attention
from gpusim.units import ceil_div
from validation.kernels.cost import Cost
from validation.kernels.problem import Problem, decode_batch
from validation.kernels.sampling import HEADS, drawn_values, draws, weights
from validation.kernels.tile import LOG2_E

UNROLL = 16  # tiles that the merge loads at once
SCAN = 256  # tiles whose maxima it loads at once


@triton.jit(do_not_specialize=["kv_heads", "kv_len", "budget", "seed"])
def fused_tiles(
    Q,
    K,
    V,
    OutTiles,
    M,
    L,
    kv_heads,
    kv_len,
    budget,
    seed,
    GROUP: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Grid (tiles, KV heads, batch)."""
    tile, tiles, batch = tl.program_id(0), tl.num_programs(0), tl.program_id(2)
    first_head = (batch * kv_heads + tl.program_id(1)) * GROUP
    keys = tile * BLOCK_N + tl.arange(0, BLOCK_N)
    kv_base = (batch.to(tl.int64) * kv_len * kv_heads + tl.program_id(1)) * HEAD_DIM
    m, l, u = weights(
        Q + first_head * HEAD_DIM, K + kv_base, keys, kv_len, kv_heads, GROUP, HEAD_DIM
    )
    # -- sampling --
    heads = tl.arange(0, HEADS)
    own = heads < GROUP
    there = (first_head + heads).to(tl.int64) * tiles + tile
    offset = tl.rand(seed, there.to(tl.int32))
    count = draws(u, tl.where(own, budget, 0).to(tl.float32), offset, BLOCK_N)
    acc = drawn_values(V + kv_base, count, keys, kv_heads, HEAD_DIM)
    # -- epilogue --
    tl.store(M + there, m, mask=own)
    tl.store(L + there, l, mask=own)
    dims = tl.arange(0, HEAD_DIM)
    tl.store(OutTiles + there[:, None] * HEAD_DIM + dims[None, :], acc, mask=own[:, None])


@triton.jit(do_not_specialize=["tiles", "budget"])
def finalize(
    OutTiles,
    M,
    L,
    O,
    LSE,
    tiles,
    budget,
    HEAD_DIM: tl.constexpr,
    TILES: tl.constexpr,
    ALL: tl.constexpr,
):
    """Grid (batch x query heads): tile outputs by their share l·2^m of the softmax."""
    head = tl.program_id(0).to(tl.int64)
    dims = tl.arange(0, HEAD_DIM)
    top = float("-inf")
    for first in range(0, tiles, ALL):
        tile = first + tl.arange(0, ALL)
        m = tl.load(M + head * tiles + tile, mask=tile < tiles, other=float("-inf"))
        top = tl.maximum(top, tl.max(m, 0))
    acc, total = tl.zeros([HEAD_DIM], tl.float32), 0.0
    for first in range(0, tiles, TILES):
        tile = first + tl.arange(0, TILES)
        inside, there = tile < tiles, head * tiles + tile
        m = tl.load(M + there, mask=inside, other=float("-inf"))
        l = tl.load(L + there, mask=inside, other=0.0)
        weight = l * tl.exp2(m - top)
        out = tl.load(
            OutTiles + there[:, None] * HEAD_DIM + dims[None, :], mask=inside[:, None], other=0.0
        )
        acc += tl.sum(out * weight[:, None], 0)
        total += tl.sum(weight, 0)
    tl.store(O + head * HEAD_DIM + dims, (acc / (total * budget)).to(O.dtype.element_ty))
    tl.store(LSE + head, (top + tl.log2(total)) / LOG2_E)


def santa_flash(
    problem: Problem, *, block_n: int, num_warps: int, budget: int, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Output [sequences, q_heads, head_dim] and exact log-sum-exp [sequences, q_heads] in fp32.

    `budget` rows are drawn per head and tile. Takes decode of one length, without a window.
    """
    attention, kv_len = decode_batch(problem, most_draws=budget)
    tiles, rows = triton.cdiv(kv_len, block_n), problem.batch * attention.q_heads
    o, statistics = (
        torch.empty_like(problem.q),
        torch.empty((2, rows, tiles), device=problem.q.device),
    )
    out_tiles = statistics.new_empty((rows, tiles, attention.head_dim))
    lse = statistics.new_empty((problem.batch, attention.q_heads))
    fused_tiles[(tiles, attention.kv_heads, problem.batch)](
        problem.q,
        problem.k,
        problem.v,
        out_tiles,
        *statistics,
        attention.kv_heads,
        kv_len,
        budget,
        seed,
        GROUP=attention.group_size,
        HEAD_DIM=attention.head_dim,
        BLOCK_N=block_n,
        num_warps=num_warps,
    )
    finalize[(rows,)](
        out_tiles,
        *statistics,
        o,
        lse,
        tiles,
        budget,
        HEAD_DIM=attention.head_dim,
        TILES=UNROLL,
        ALL=SCAN,
        num_warps=4,
    )
    return o, lse


def santa_flash_cost(attention: Attention, *, block_n: int, v_rows: int) -> tuple[Cost, Cost]:
    """Of both kernels; `v_rows` are the value rows that any head of a group drew, over all."""
    kv_len, d, size = attention.sequences[0].kv_len, attention.head_dim, attention.element_bytes
    groups, rows = attention.batch * attention.kv_heads, attention.batch * attention.q_heads
    tiles = ceil_div(kv_len, block_n)
    parts = Counter(OutTiles=rows * tiles * d * 4, M=rows * tiles * 4, L=rows * tiles * 4)
    fused = Cost(
        flop=4 * HEADS.value * block_n * d * groups * tiles,
        reads=Counter(Q=rows * tiles * d * size, K=groups * kv_len * d * size, V=v_rows * d * size),
        writes=parts,
    )
    merged = Cost(
        reads=parts + Counter(M=rows * tiles * 4), writes=Counter(O=rows * d * size, LSE=rows * 4)
    )
    return fused, merged
