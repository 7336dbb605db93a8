"""FlashAttention-3's forward pass for Hopper, in Gluon: a TMA producer and two WGMMA consumers.

Shah et al., "FlashAttention-3" (arXiv 2407.08608), section 3: warp specialisation, with registers
moved from the producer to the consumers (algorithm 1), and within each consumer the softmax of one
KV tile under PV of the tile before (algorithm 2). Semantics are those of `flash2`, without windows.

Unlike FlashAttention-3 as shipped: no barriers that let the two consumers play ping-pong; a CTA per
query tile, in grid order (no persistence, no longest-first); no clusters, multicast, FP8, paging,
splits or packed heads; tiles of 128 x 128, where it takes 192 queries at head_dim 64, and up to 176
keys at 128; row sums are reduced across lanes at every tile, not once at the end.

This kernel has never run on a GPU. What is known without one: it compiles for sm_90a, and its
machine code; and its source gives right results, without deadlock or race, in every order of its
warps and loads that was tried on a model of Gluon (`tests/gluon_model.py`), which has no layouts,
no proxies and no compiler. Until it has run on a Hopper GPU, take its results there as unchecked.
"""

import torch
import triton
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    warpgroup_mma,
    warpgroup_mma_wait,
)
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

from gpusim.spec.attention import Attention
from validation.kernels.cost import Cost
from validation.kernels.problem import Problem
from validation.kernels.ring import async_load, load_tile, make_barriers, wait_round
from validation.kernels.tile import forward_cost

LOG2_E = gl.constexpr(1.4426950408889634)


@gluon.jit
def produce(Q, K, V, q0, q1, q_full, ring, q_at, kv_at, num_tiles):
    """One warp: loads both consumers' queries, then K and V in the order of use."""
    k, v, k_full, k_empty, v_full, v_empty = ring
    mbarrier.expect(q_full, 2 * Q.block_type.nbytes)
    async_load(Q, [q_at[0], q_at[1]], q_full, q0)
    async_load(Q, [q_at[0] + q0.shape[0], q_at[1]], q_full, q1)
    load_tile(K, kv_at, num_tiles, k, k_full, k_empty, 0)
    for i in range(1, num_tiles):
        load_tile(K, kv_at, num_tiles, k, k_full, k_empty, i)
        load_tile(V, kv_at, num_tiles, v, v_full, v_empty, i - 1)
    load_tile(V, kv_at, num_tiles, v, v_full, v_empty, num_tiles - 1)


@gluon.jit
def scores(q, k, k_full, i, S: gl.constexpr):
    """Waits for the i-th K and starts QKᵀ."""
    ROWS: gl.constexpr = q.shape[0]
    BLOCK_N: gl.constexpr = k.shape[1]
    STAGES: gl.constexpr = k.shape[0]
    wait_round(k_full, i, STAGES)
    zeros = gl.zeros([ROWS, BLOCK_N], gl.float32, S)
    transposed = k.index(i % STAGES).permute((1, 0))
    return warpgroup_mma(q, transposed, zeros, use_acc=False, is_async=True)


@gluon.jit
def values(p, v, acc, v_full, i):
    """Waits for the i-th V and starts acc + PV."""
    STAGES: gl.constexpr = v.shape[0]
    wait_round(v_full, i, STAGES)
    return warpgroup_mma(p, v.index(i % STAGES), acc, is_async=True)


@gluon.jit
def softmax(s, m, l, high, whole, tile, P: gl.constexpr, DTYPE: gl.constexpr, SCALE: gl.constexpr):
    """One KV tile of online softmax in base 2: weights, factor for acc, new m and l.

    Row r sees the keys below high[r]; all rows see tiles below `whole`, which are not masked.
    """
    BLOCK_N: gl.constexpr = s.shape[1]
    if tile >= whole:
        keys = tile * BLOCK_N + gl.arange(0, BLOCK_N, gl.SliceLayout(0, s.type.layout))
        s = gl.where(keys[None, :] < high[:, None], s, float("-inf"))
    m_new = gl.maximum(m, gl.max(s, 1) * SCALE)
    base = gl.where(m_new == float("-inf"), 0.0, m_new)  # nothing seen yet: no inf - inf
    p = gl.exp2(gl.fma(s, SCALE, -base[:, None]))
    alpha = gl.exp2(m - base)
    return gl.convert_layout(p.to(DTYPE), P), alpha, m_new, l * alpha + gl.sum(p, 1)


@gluon.jit
def consume(q, q_full, ring, lengths, first_row, num_tiles, out, CAUSAL: gl.constexpr):
    """Four warps: 64 queries against every KV tile of the CTA, and their output."""
    k, v, k_full, k_empty, v_full, v_empty = ring
    q_len, kv_len = lengths
    O, LSE, token, q_heads, head = out
    ROWS: gl.constexpr = q.shape[0]
    HEAD_DIM: gl.constexpr = q.shape[1]
    STAGES: gl.constexpr = k.shape[0]
    BLOCK_N: gl.constexpr = k.shape[1]
    S: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, BLOCK_N, 16])
    ACC: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, HEAD_DIM, 16])
    P: gl.constexpr = gl.DotOperandLayout(0, ACC, 2)
    SCALE: gl.constexpr = LOG2_E / HEAD_DIM**0.5
    rows = first_row + gl.arange(0, ROWS, gl.SliceLayout(1, S))
    high = gl.zeros_like(rows) + kv_len
    whole = kv_len // BLOCK_N
    if CAUSAL:
        shift = kv_len - q_len
        high = gl.minimum(high, rows + shift + 1)
        whole = gl.minimum(kv_len, gl.maximum(first_row + shift + 1, 0)) // BLOCK_N
    m = gl.full([ROWS], float("-inf"), gl.float32, gl.SliceLayout(1, S))
    l = gl.zeros([ROWS], gl.float32, gl.SliceLayout(1, S))
    acc = gl.zeros([ROWS, HEAD_DIM], gl.float32, ACC)
    # -- first tile: scores and softmax only --
    mbarrier.wait(q_full, 0)
    s = warpgroup_mma_wait(0, deps=[scores(q, k, k_full, 0, S)])
    mbarrier.arrive(k_empty.index(0))
    p, _, m, l = softmax(s, m, l, high, whole, num_tiles - 1, P, q.dtype, SCALE)
    # -- main loop: QK of tile i, then its softmax under PV of tile i - 1 --
    for i in range(1, num_tiles):
        s = scores(q, k, k_full, i, S)
        pv = values(p, v, acc, v_full, i - 1)
        s = warpgroup_mma_wait(1, deps=[s])
        mbarrier.arrive(k_empty.index(i % STAGES))
        weights, alpha, m, l = softmax(s, m, l, high, whole, num_tiles - 1 - i, P, q.dtype, SCALE)
        # This round is complete and stays so until we arrive at v_empty. But without a branch here
        # ptxas (12.8, 13.4) moves the wait for PV before the exponentials, and nothing overlaps.
        wait_round(v_full, i - 1, STAGES)
        acc, p, weights = warpgroup_mma_wait(0, deps=[pv, p, weights])
        mbarrier.arrive(v_empty.index((i - 1) % STAGES))
        acc = acc * gl.convert_layout(alpha, gl.SliceLayout(1, ACC))[:, None]
        p = weights
    # -- last tile: values only --
    acc, p = warpgroup_mma_wait(0, deps=[values(p, v, acc, v_full, num_tiles - 1), p])
    # -- epilogue: rows that saw nothing have acc = 0, l = 0, m = -inf --
    offsets = (token.to(gl.int64) + rows) * q_heads + head
    gl.store(LSE + offsets, (m + gl.log2(l)) / LOG2_E, mask=rows < q_len)
    share = 1.0 / gl.where(l > 0, l, 1.0)
    acc = acc * gl.convert_layout(share, gl.SliceLayout(1, ACC))[:, None]
    q.store(acc.to(q.dtype))  # q is done with: through its room, rows leave in 16-byte pieces
    OUT: gl.constexpr = gl.BlockedLayout([1, 8], [256 // HEAD_DIM, HEAD_DIM // 8], [4, 1], [1, 0])
    rows = first_row + gl.arange(0, ROWS, gl.SliceLayout(1, OUT))
    dims = gl.arange(0, HEAD_DIM, gl.SliceLayout(0, OUT))
    offsets = ((token.to(gl.int64) + rows) * q_heads + head) * HEAD_DIM
    gl.store(O + offsets[:, None] + dims[None, :], q.load(OUT), mask=(rows < q_len)[:, None])


@gluon.jit(do_not_specialize=["q_heads", "kv_heads"])
def flash3_fwd(
    Q,
    K,
    V,
    O,
    LSE,
    q_starts,
    kv_starts,
    q_heads,
    kv_heads,
    CAUSAL: gl.constexpr,
    HEAD_DIM: gl.constexpr,
    BLOCK_M: gl.constexpr,
    BLOCK_N: gl.constexpr,
    STAGES: gl.constexpr,
):
    """Grid (query tiles of the longest sequence, batch, query heads)."""
    batch, head = gl.program_id(1), gl.program_id(2)
    q_start, kv_start = gl.load(q_starts + batch), gl.load(kv_starts + batch)
    q_len = gl.load(q_starts + batch + 1) - q_start
    kv_len = gl.load(kv_starts + batch + 1) - kv_start
    first_row = gl.program_id(0) * BLOCK_M
    if first_row >= q_len:
        return
    high = kv_len
    if CAUSAL:
        high = gl.minimum(high, first_row + BLOCK_M + kv_len - q_len)
    # Queries that see no key walk one tile all the same, masked whole: nobody waits in vain.
    num_tiles = gl.maximum(gl.cdiv(gl.maximum(high, 0), BLOCK_N), 1)
    ROWS: gl.constexpr = BLOCK_M // 2
    q0 = gl.allocate_shared_memory(Q.dtype, [ROWS, HEAD_DIM], Q.layout)
    q1 = gl.allocate_shared_memory(Q.dtype, [ROWS, HEAD_DIM], Q.layout)
    k = gl.allocate_shared_memory(K.dtype, [STAGES, BLOCK_N, HEAD_DIM], K.layout)
    v = gl.allocate_shared_memory(V.dtype, [STAGES, BLOCK_N, HEAD_DIM], V.layout)
    q_full = make_barriers(1, 1).index(0)
    k_full, k_empty = make_barriers(1, STAGES), make_barriers(2, STAGES)
    v_full, v_empty = make_barriers(1, STAGES), make_barriers(2, STAGES)
    fence_async_shared()  # TMA must see the barriers initialised
    ring = (k, v, k_full, k_empty, v_full, v_empty)
    out = (O, LSE, q_start, q_heads, head)
    q_at = (q_start + first_row, head * HEAD_DIM)
    kv_at = (kv_start, head // (q_heads // kv_heads) * HEAD_DIM)
    lengths = (q_len, kv_len)
    second_row = first_row + ROWS
    gl.warp_specialize(
        [
            (consume, (q0, q_full, ring, lengths, first_row, num_tiles, out, CAUSAL)),
            (consume, (q1, q_full, ring, lengths, second_row, num_tiles, out, CAUSAL)),
            (produce, (Q, K, V, q0, q1, q_full, ring, q_at, kv_at, num_tiles)),
        ],
        [4, 1],
        [240, 24],
    )


def flash3(
    problem: Problem, *, block_m: int = 128, block_n: int = 128, stages: int = 2
) -> tuple[torch.Tensor, torch.Tensor]:
    """Output [queries, q_heads, head_dim], and log-sum-exp [queries, q_heads] in fp32."""
    attention = taken(problem.attention, block_m)
    o = torch.empty_like(problem.q)
    lse = problem.q.new_empty(problem.q.shape[:2], dtype=torch.float32)
    grid = (triton.cdiv(max(problem.q_lens), block_m), problem.batch, attention.q_heads)
    flash3_fwd[grid](
        boxes(problem.q, block_m // 2),
        boxes(problem.k, block_n),
        boxes(problem.v, block_n),
        o,
        lse,
        problem.q_starts,
        problem.kv_starts,
        attention.q_heads,
        attention.kv_heads,
        CAUSAL=attention.causal,
        HEAD_DIM=attention.head_dim,
        BLOCK_M=block_m,
        BLOCK_N=block_n,
        STAGES=stages,
        num_warps=4,
    )
    return o, lse


def boxes(x: torch.Tensor, rows: int) -> TensorDescriptor:
    """TMA descriptor of [tokens, heads * head_dim], whose box is some tokens' rows of one head."""
    dtype = {torch.float16: gl.float16, torch.bfloat16: gl.bfloat16}[x.dtype]
    box = [rows, x.shape[2]]
    layout = gl.NVMMASharedLayout.get_default_for(box, dtype)
    return TensorDescriptor.from_tensor(x.flatten(1), box, layout)


def taken(attention: Attention, block_m: int) -> Attention:
    """The attention, if this kernel takes it.

    Raises:
        ValueError: for a window, a head size but 64 and 128, a query tile but 128.
    """
    if attention.window is not None:
        raise ValueError(f"window: expected none, found {attention.window}")
    if attention.head_dim not in (64, 128):
        raise ValueError(f"head_dim: expected 64 or 128, found {attention.head_dim}")
    if block_m != 128:
        raise ValueError(f"block_m: expected 128, 64 for each consumer, found {block_m}")
    return attention


def flash3_cost(attention: Attention, *, block_m: int, block_n: int) -> Cost:
    """Matrix FLOP and bytes: whole tiles are multiplied, real rows are counted.

    A box past the end of a sequence brings other rows too, whose bytes are not counted.
    """
    return forward_cost(taken(attention, block_m), block_m=block_m, block_n=block_n)
