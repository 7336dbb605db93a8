"""Kernels that read: as fast as the memory gives, or load after load.

Loads skip L1 (`.cg`), so that every request reaches L2. What is read ends in a sum that is stored:
no load can be left out.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from validation.microbench.kernels.stamp import start, stop

#: Elements of a tile of the chain: one for each thread of four warps.
CHAIN_TILE, CHAIN_WARPS = 128, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A CTA's part of the buffer before it goes on: `loads` tiles of `tile` float32 elements."""

    tile: int
    loads: int
    warps: int


#: Four loads of 16 bytes in each thread.
TOGETHER = Shape(tile=2048, loads=2, warps=8)
ALONE = Shape(tile=4096, loads=4, warps=32)


@triton.jit
def read_kernel(
    x_ptr,
    out_ptr,
    stamps_ptr,
    parts,
    passes,
    TILE: tl.constexpr,
    LOADS: tl.constexpr,
    CLOCKED: tl.constexpr,
):
    """Each CTA reads every grid-th part of the buffer, `passes` times."""
    pid = tl.program_id(0)
    grid = tl.num_programs(0)
    offsets = tl.arange(0, TILE)
    total = tl.zeros([TILE], tl.float32)
    start(stamps_ptr, CLOCKED)
    for _ in range(passes):
        first = x_ptr + pid.to(tl.int64) * (TILE * LOADS)
        for _ in range(pid, parts, grid):
            for i in tl.static_range(LOADS):
                total += tl.load(first + i * TILE + offsets, cache_modifier=".cg")
            first += grid.to(tl.int64) * (TILE * LOADS)
    result = tl.sum(total, axis=0)
    stop(stamps_ptr, result, CLOCKED)
    tl.store(out_ptr + pid, result)


@triton.jit
def chained_read_kernel(x_ptr, out_ptr, tiles, passes, TILE: tl.constexpr):
    """As above, in tiles; where a load goes depends on the one before it (x holds zeros)."""
    pid = tl.program_id(0)
    grid = tl.num_programs(0)
    offsets = tl.arange(0, TILE)
    value = tl.zeros([TILE], tl.int32)
    for _ in range(passes):
        first = x_ptr + pid.to(tl.int64) * TILE
        for _ in range(pid, tiles, grid):
            value = tl.load(first + offsets + value, cache_modifier=".cg")
            first += grid.to(tl.int64) * TILE
    tl.store(out_ptr + pid * TILE + offsets, value)


def read(
    x: torch.Tensor,
    out: torch.Tensor,
    shape: Shape = TOGETHER,
    *,
    stamps: torch.Tensor | None = None,
    passes: int = 1,
) -> None:
    """Read x (float32, whole parts) with as many CTAs as `out` (float32) has elements."""
    read_kernel[(out.numel(),)](
        x,
        out,
        out if stamps is None else stamps,
        x.numel() // (shape.tile * shape.loads),
        passes,
        TILE=shape.tile,
        LOADS=shape.loads,
        CLOCKED=stamps is not None,
        num_warps=shape.warps,
    )


def chained_read(x: torch.Tensor, out: torch.Tensor, *, passes: int = 1) -> None:
    """Read x (int32 zeros, whole tiles); `out` (int32) has a tile for each CTA."""
    chained_read_kernel[(out.numel() // CHAIN_TILE,)](
        x, out, x.numel() // CHAIN_TILE, passes, TILE=CHAIN_TILE, num_warps=CHAIN_WARPS
    )
