"""A chain of one arithmetic operation, each on the result of the one before it.

Every thread has eight chains, which do not wait for one another; with 16 warps on an SM that is 32
operations under way for each lane of a scheduler, more than any of these pipes holds.
"""

import torch
import triton
import triton.language as tl

from validation.microbench.kernels.stamp import start, stop

#: Elements of a CTA, warps, and operations on each element in a turn of the loop.
TILE, WARPS, TURN = 2048, 8, 64
OPERATIONS = ("exp2", "fma", "convert")


@triton.jit
def _once(x, a, b, OPERATION: tl.constexpr):
    if OPERATION == "exp2":
        y = tl.exp2(x)
    elif OPERATION == "fma":
        y = tl.fma(x, a, b)
    else:
        # Two results, packed as attention kernels pack them; their bits are the next operand.
        pair = tl.inline_asm_elementwise(
            "cvt.rn.bf16x2.f32 $0, $1, $1;", "=r,f", [x], dtype=tl.int32, is_pure=True, pack=1
        )
        y = pair.to(tl.float32, bitcast=True)
    return y


@triton.jit
def chain_kernel(
    out_ptr,
    stamps_ptr,
    turns,
    a,
    b,
    OPERATION: tl.constexpr,
    TILE: tl.constexpr,
    TURN: tl.constexpr,
    CLOCKED: tl.constexpr,
):
    """x = operation(x), turns x TURN times, from x = element / TILE."""
    pid = tl.program_id(0)
    x = tl.arange(0, TILE).to(tl.float32) / TILE
    start(stamps_ptr, CLOCKED)
    for _ in range(turns):
        for _ in tl.static_range(TURN):
            x = _once(x, a, b, OPERATION)
    result = tl.sum(x, axis=0)
    stop(stamps_ptr, result, CLOCKED)
    tl.store(out_ptr + pid, result)


def chain(
    out: torch.Tensor, operation: str, *, turns: int, stamps: torch.Tensor | None = None
) -> None:
    """Run the chain in as many CTAs as `out` (float32) has elements; fma is x/2 + 1/4."""
    chain_kernel[(out.numel(),)](
        out,
        out if stamps is None else stamps,
        turns,
        0.5,
        0.25,
        OPERATION=operation,
        TILE=TILE,
        TURN=TURN,
        CLOCKED=stamps is not None,
        num_warps=WARPS,
    )
