"""S²ANTA-prop in Triton: scores first, then each tile draws rows by its share of the softmax.

SANTA (arXiv 2605.01910), release `santa_fused_proportional_tile_budgets`: pass 1 leaves all weights
in a stash, `tile_budgets` deals S draws out by largest remainder, pass 2 draws and adds. Unlike
there, a batch is one launch, products run on tensor cores, and the kernel that makes the
budgets clears the sums.
"""

from collections import Counter

import torch
import triton
import triton.language as tl

from gpusim.schedules.triton_santa_prop import BLOCK_N
from gpusim.spec.attention import Attention
from gpusim.units import ceil_div, power_of_two
from validation.kernels.cost import Cost
from validation.kernels.problem import Problem, decode_batch
from validation.kernels.sampling import HEADS, drawn_values, draws, weights

CAST = 256  # elements of a CTA of the last kernel
CHUNK = tl.constexpr(16)  # tiles that are ranked at once


@triton.jit(do_not_specialize=["kv_heads", "kv_len"])
def pass1(
    Q,
    K,
    Stash,
    M,
    L,
    kv_heads,
    kv_len,
    GROUP: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Grid (tiles, KV heads, batch): weights to the stash [keys, query heads], m and l."""
    tile, tiles, kv_head = tl.program_id(0), tl.num_programs(0), tl.program_id(1)
    batch = tl.program_id(2).to(tl.int64)
    first_head = (batch * kv_heads + kv_head) * GROUP
    keys, heads = tile * BLOCK_N + tl.arange(0, BLOCK_N), tl.arange(0, HEADS)
    kv_base = (batch * kv_len * kv_heads + kv_head) * HEAD_DIM
    m, l, u = weights(
        Q + first_head * HEAD_DIM, K + kv_base, keys, kv_len, kv_heads, GROUP, HEAD_DIM
    )
    row = (batch * kv_len + keys) * kv_heads + kv_head
    here = (heads[:, None] < GROUP) & (keys[None, :] < kv_len)
    tl.store(Stash + row[None, :] * GROUP + heads[:, None], u.to(Stash.dtype.element_ty), mask=here)
    there = (first_head + heads) * tiles + tile
    tl.store(M + there, m, mask=heads < GROUP)
    tl.store(L + there, l, mask=heads < GROUP)


@triton.jit(do_not_specialize=["tiles", "samples", "seed"])
def tile_budgets(
    M,
    L,
    Budget,
    Offset,
    Sum,
    tiles,
    samples,
    seed,
    HEAD_DIM: tl.constexpr,
    TILES: tl.constexpr,
):
    """Grid (batch x query heads): floor(S·w_t), and one more for the largest remainders."""
    head, tile = tl.program_id(0), tl.arange(0, TILES)
    there, inside = head.to(tl.int64) * tiles + tile, tile < tiles
    m = tl.load(M + there, mask=inside, other=float("-inf"))
    l = tl.load(L + there, mask=inside, other=0.0)
    weight = l * tl.exp2(m - tl.max(m, 0))
    wanted = samples * (weight / tl.sum(weight, 0))
    whole = tl.floor(wanted)
    left = samples - tl.sum(whole, 0)
    # -- rank of the remainders: how many are larger, or equal and of an earlier tile --
    remainder = tl.where(inside, wanted - whole, -1.0)
    rank = tl.zeros([TILES], tl.float32)
    for first in range(0, TILES, CHUNK):
        others = first + tl.arange(0, CHUNK)
        other = tl.gather(remainder, others, 0)
        larger = other[None, :] > remainder[:, None]
        earlier = (other[None, :] == remainder[:, None]) & (others[None, :] < tile[:, None])
        rank += tl.sum((larger | earlier).to(tl.float32), 1)
    budget = whole + tl.where((rank < left) & inside, 1.0, 0.0)
    tl.store(Budget + there, budget, mask=inside)
    tl.store(Offset + there, tl.rand(seed, head * tiles + tile), mask=inside)
    dims = tl.arange(0, HEAD_DIM)
    tl.store(Sum + head.to(tl.int64) * HEAD_DIM + dims, tl.zeros([HEAD_DIM], tl.float32))


@triton.jit(do_not_specialize=["kv_heads", "kv_len", "tiles"])
def pass2(
    Stash,
    V,
    Budget,
    Offset,
    Sum,
    kv_heads,
    kv_len,
    tiles,
    GROUP: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Grid (KV heads, tiles, batch): drawn rows of V, added up over the tiles by atomics."""
    kv_head, tile = tl.program_id(0), tl.program_id(1)
    batch = tl.program_id(2).to(tl.int64)
    first_head = (batch * kv_heads + kv_head) * GROUP
    keys, heads = tile * BLOCK_N + tl.arange(0, BLOCK_N), tl.arange(0, HEADS)
    own = heads < GROUP
    row = (batch * kv_len + keys) * kv_heads + kv_head
    here = own[:, None] & (keys[None, :] < kv_len)
    u = tl.load(Stash + row[None, :] * GROUP + heads[:, None], mask=here, other=0.0).to(tl.float32)
    u = tl.where(own[:, None], u, 1.0)  # padded heads draw nothing, but divide by their sum
    there = (first_head + heads) * tiles + tile
    budget = tl.load(Budget + there, mask=own, other=0.0)
    count = draws(u, budget, tl.load(Offset + there, mask=own, other=0.0), BLOCK_N)
    kv_base = (batch * kv_len * kv_heads + kv_head) * HEAD_DIM
    acc = drawn_values(V + kv_base, count, keys, kv_heads, HEAD_DIM)
    dims = tl.arange(0, HEAD_DIM)
    target = Sum + (first_head + heads)[:, None] * HEAD_DIM + dims[None, :]
    tl.atomic_add(target, acc, mask=own[:, None], sem="relaxed")


@triton.jit(do_not_specialize=["size", "samples"])
def cast_scale(Sum, O, size, samples, BLOCK: tl.constexpr):
    """Grid (elements / BLOCK): the mean over the draws, in the output's type."""
    element = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    total = tl.load(Sum + element, mask=element < size, other=0.0)
    tl.store(O + element, (total / samples).to(O.dtype.element_ty), mask=element < size)


def santa_prop(problem: Problem, *, samples: int, seed: int, num_warps: int = 8) -> torch.Tensor:
    """Output [sequences, q_heads, head_dim]; each query head draws `samples` rows in all.

    Takes decode of one length, without a window.
    """
    attention, kv_len = decode_batch(problem, most_draws=samples)
    tiles, rows, d = (
        triton.cdiv(kv_len, BLOCK_N),
        problem.batch * attention.q_heads,
        problem.q.shape[2],
    )
    o, size = torch.empty_like(problem.q), problem.q.numel()
    stash = problem.k.new_empty((problem.batch * kv_len, attention.q_heads))
    m, l, budget, offset = torch.empty((4, rows, tiles), device=o.device)
    sums = torch.empty((rows, d), device=o.device)
    shape = {
        "GROUP": attention.group_size,
        "HEAD_DIM": d,
        "BLOCK_N": BLOCK_N,
        "num_warps": num_warps,
    }
    lengths = (attention.kv_heads, kv_len)
    pass1[(tiles, attention.kv_heads, problem.batch)](
        problem.q, problem.k, stash, m, l, *lengths, **shape
    )
    tile_budgets[(rows,)](
        m,
        l,
        budget,
        offset,
        sums,
        tiles,
        samples,
        seed,
        HEAD_DIM=d,
        TILES=max(CHUNK.value, power_of_two(tiles)),
    )
    pass2[(attention.kv_heads, tiles, problem.batch)](
        stash, problem.v, budget, offset, sums, *lengths, tiles, **shape
    )
    cast_scale[(triton.cdiv(size, CAST),)](sums, o, size, samples, BLOCK=CAST)
    return o


def santa_prop_cost(attention: Attention, *, v_rows: int) -> tuple[Cost, ...]:
    """Of the four kernels; `v_rows` are the value rows that any head of a group drew."""
    kv_len, d, size = attention.sequences[0].kv_len, attention.head_dim, attention.element_bytes
    groups, rows = attention.batch * attention.kv_heads, attention.batch * attention.q_heads
    tiles = ceil_div(kv_len, BLOCK_N)
    flop = 2 * HEADS.value * BLOCK_N * d * groups * tiles
    stash, statistics = Counter(Stash=kv_len * rows * size), rows * tiles * 4
    sums = Counter(Sum=rows * d * 4)
    return (
        Cost(
            flop=flop,
            reads=Counter(Q=rows * tiles * d * size, K=groups * kv_len * d * size),
            writes=stash + Counter(M=statistics, L=statistics),
        ),
        Cost(
            reads=Counter(M=statistics, L=statistics),
            writes=sums + Counter(Budget=statistics, Offset=statistics),
        ),
        Cost(
            flop=flop,
            reads=stash + Counter(V=v_rows * d * size, Budget=statistics, Offset=statistics),
            writes=Counter(Sum=rows * tiles * d * 4),
        ),
        Cost(reads=sums, writes=Counter(O=rows * d * size)),
    )
