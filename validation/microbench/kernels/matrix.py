"""Matrix instructions, over and over: nothing is loaded from beyond the SM within the loop.

`mma.sync` is written out, with operands in registers, as a warp issues it (`tl.dot` would load the
operands from shared memory in every turn, which the model counts apart). wgmma is what Triton makes
of `tl.dot` on Hopper with four warps and at least 64 rows; it reads its operands from shared memory
by itself.
"""

import torch
import triton
import triton.language as tl

from validation.microbench.kernels.stamp import start, stop

#: Warps of a CTA, chains of each warp, and products on each chain in a turn of the loop.
WARPS, CHAINS, TURN = 4, 8, 16
#: 16-bit numbers that a CTA multiplies: six registers of two in each thread (four of a, two of b).
MMA_OPERANDS = 2 * 6 * 32 * WARPS
#: FLOP of one CTA in a turn of the loop; an m16n8k16 is 4096.
MMA_TURN_FLOP = 2 * 16 * 8 * 16 * WARPS * CHAINS * TURN
#: Rows, columns and depth of the product of one CTA of four warps with wgmma, and its FLOP.
WGMMA_TILE = (64, 256, 128)
WGMMA_TURN_FLOP = 2 * 64 * 256 * 128


@triton.jit
def _mma(a0, a1, a2, a3, b0, b1, c0, c1, c2, c3, DTYPE: tl.constexpr):
    """c += a b: m16n8k16 with float32 sums, once for each element that a thread has of c."""
    return tl.inline_asm_elementwise(
        "mma.sync.aligned.m16n8k16.row.col.f32."
        + DTYPE
        + "."
        + DTYPE
        + ".f32 {$0, $1, $2, $3}, {$4, $5, $6, $7}, {$8, $9}, {$10, $11, $12, $13};",
        "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f",
        [a0, a1, a2, a3, b0, b1, c0, c1, c2, c3],
        dtype=(tl.float32, tl.float32, tl.float32, tl.float32),
        is_pure=True,
        pack=1,
    )


@triton.jit
def mma_kernel(
    operands_ptr,
    out_ptr,
    stamps_ptr,
    turns,
    DTYPE: tl.constexpr,
    THREADS: tl.constexpr,
    CHAINS: tl.constexpr,
    TURN: tl.constexpr,
):
    """turns x TURN products on each of CHAINS accumulators of every warp; the operands are one."""
    pid = tl.program_id(0)
    x = operands_ptr + tl.arange(0, THREADS)[:, None]
    a0, a1 = tl.load(x), tl.load(x + THREADS)
    a2, a3 = tl.load(x + 2 * THREADS), tl.load(x + 3 * THREADS)
    b0, b1 = tl.load(x + 4 * THREADS), tl.load(x + 5 * THREADS)
    # Chains start from different sums, so that none can stand for another.
    c0 = tl.zeros([THREADS, CHAINS], tl.float32) + tl.arange(0, CHAINS)[None, :]
    c1, c2, c3 = c0, c0, c0
    start(stamps_ptr, True)
    for _ in range(turns):
        for _ in tl.static_range(TURN):
            c0, c1, c2, c3 = _mma(a0, a1, a2, a3, b0, b1, c0, c1, c2, c3, DTYPE)
    result = tl.sum(tl.sum(c0 + c1 + c2 + c3, axis=1), axis=0)
    stop(stamps_ptr, result, True)
    tl.store(out_ptr + pid, result)


@triton.jit
def dot_kernel(
    a_ptr,
    b_ptr,
    out_ptr,
    stamps_ptr,
    turns,
    M: tl.constexpr,
    N: tl.constexpr,
    K: tl.constexpr,
    CLOCKED: tl.constexpr,
):
    """acc += a b, `turns` times; a is [M, K] and b, stored transposed, [K, N]."""
    pid = tl.program_id(0)
    m = tl.arange(0, M)
    n = tl.arange(0, N)
    k = tl.arange(0, K)
    a = tl.load(a_ptr + m[:, None] * K + k[None, :])
    b = tl.load(b_ptr + k[:, None] + n[None, :] * K)
    acc = tl.zeros([M, N], tl.float32)
    start(stamps_ptr, CLOCKED)
    for _ in range(turns):
        acc = tl.dot(a, b, acc)
    result = tl.sum(tl.sum(acc, axis=1), axis=0)
    stop(stamps_ptr, result, CLOCKED)
    tl.store(out_ptr + pid, result)


def mma(operands: torch.Tensor, out: torch.Tensor, stamps: torch.Tensor, *, turns: int) -> None:
    """Run mma.sync in as many CTAs as `out` has elements; `operands` has MMA_OPERANDS."""
    mma_kernel[(out.numel(),)](
        operands.view(torch.int32),
        out,
        stamps,
        turns,
        DTYPE={torch.float16: "f16", torch.bfloat16: "bf16"}[operands.dtype],
        THREADS=32 * WARPS,
        CHAINS=CHAINS,
        TURN=TURN,
        num_warps=WARPS,
    )


def dot(
    a: torch.Tensor,
    b: torch.Tensor,
    out: torch.Tensor,
    *,
    turns: int,
    stamps: torch.Tensor | None = None,
) -> None:
    """Multiply a [M, K] by the transpose of b [N, K] in as many CTAs as `out` has elements."""
    dot_kernel[(out.numel(),)](
        a,
        b,
        out,
        out if stamps is None else stamps,
        turns,
        M=a.shape[0],
        N=b.shape[0],
        K=a.shape[1],
        CLOCKED=stamps is not None,
        num_warps=WARPS,
    )
