"""The project's own Triton kernels (`validation/kernels`), as they are compiled.

Measured rows name them `gpusim_triton_<schedule>`. Registers, shared memory and barriers are what
the compiler took (`gpusim/spec/compiled.py`). Products of 64 rows or more use warpgroup
instructions on Hopper, all others `mma.sync`.
"""

from dataclasses import replace
from functools import lru_cache

from gpusim.errors import SpecError
from gpusim.schedules.combine import combine_launch, flash2_combine
from gpusim.schedules.flash1 import pass_launch
from gpusim.schedules.flash3_step import flash3_step
from gpusim.schedules.forward import flash2_step, grid_launch
from gpusim.schedules.grid import Grid
from gpusim.schedules.launch import Launch
from gpusim.schedules.lean import lean_launch
from gpusim.schedules.step import Part, Pipe, Step
from gpusim.schedules.tile import Tile
from gpusim.schedules.triton_options import (
    FLASH1,
    FLASH2,
    FLASH3,
    LEAN,
    SPLIT_KV,
    Options,
    build_of,
    flash1_options,
    split_kv_options,
)
from gpusim.spec.attention import Attention
from gpusim.spec.compiled import CompiledKernel, compiled_kernel
from gpusim.spec.gpu import Gpu


def flash1(attention: Attention, gpu: Gpu) -> tuple[Launch, ...]:
    """`validation/kernels/flash1.py`: a step loads its own rows, nothing ahead."""
    if attention.effective_window is not None:
        raise SpecError(f"attention.window: expected none, found {attention.window}")
    options = flash1_options(attention, gpu)
    build = build_of("flash1_fwd", attention, gpu, FLASH1)
    keys, splits = options["block_n"], options["num_splits"]
    launch = pass_launch(attention, gpu, keys=keys, splits=splits, resources=build.resources)
    step = replace(launch.step, tracks=(_flash1_track(build, attention.element_bytes),))
    return (replace(launch, name=build.kernel, step=_as_built(step, build)),)


def _flash1_track(build: CompiledKernel, element_bytes: int) -> tuple[Part, ...]:
    """16 query rows against a KV block in shared memory, whose keys the warps share out.

    With S = 16·keys scores and d the head size, in bytes of shared memory: Q by each warp and the
    keys, 16·d·e·warps + keys·d·e; P out and in to each warp and the values, S·e·(1 + warps) +
    keys·d·e. Merging with the passes before scales both outputs, and takes as many exponentials a
    row as rescaling does.
    """
    rows, keys = build.block_m or 0, build.block_n or 0
    scores, out = float(rows * keys), float(rows * build.head_dim)
    block = float(keys * build.head_dim * element_bytes)
    gemm, warps = 2 * scores * build.head_dim, build.num_warps
    p_bytes = scores * element_bytes * (1 + warps)
    return (
        Part("qk", {Pipe.TENSOR: gemm, Pipe.SMEM: out * element_bytes * warps + block}),
        Part("exp2", {Pipe.EXP2: scores + _row_exps(build)}),
        Part("pack", {Pipe.CONVERT: scores / 2}),
        Part("scale", {Pipe.FP32: 3 * scores + 3 * out}),
        Part("pv", {Pipe.TENSOR: gemm, Pipe.SMEM: block + p_bytes}),
    )


def flash2(attention: Attention, gpu: Gpu) -> tuple[Launch, ...]:
    """`validation/kernels/flash2.py`: a CTA per query tile, sequence and head."""
    return (_forward("flash2_fwd", attention, gpu, FLASH2, packed=1, splits=1),)


def split_kv(attention: Attention, gpu: Gpu) -> tuple[Launch, ...]:
    """`validation/kernels/split_kv.py`: packed heads, and a combine kernel if it splits."""
    splits, packed = split_kv_options(attention, gpu)["num_splits"], attention.group_size
    split = _forward("split_fwd", attention, gpu, SPLIT_KV, packed=packed, splits=splits)
    if splits == 1:
        return (split,)
    kernel = flash2_combine(attention.head_dim)
    merge = compiled_kernel(
        "combine", gpu.architecture, head_dim=attention.head_dim, block_m=kernel.block_m
    )
    combine = combine_launch(attention, kernel, (splits,) * len(attention.sequences))
    return split, replace(combine, **merge.resources)


def lean(attention: Attention, gpu: Gpu) -> tuple[Launch, ...]:
    """`validation/kernels/lean.py`: packed heads, equal runs of KV tiles."""
    build = build_of("lean_fwd", attention, gpu, LEAN)
    launch = lean_launch(attention, gpu, _tile(build, gpu), attention.group_size)
    return (replace(launch, name=build.kernel, step=_as_built(launch.step, build)),)


def flash3(attention: Attention, gpu: Gpu) -> tuple[Launch, ...]:
    """`validation/kernels/flash3.py`: two consumer warpgroups that run freely, and a producer."""
    if not gpu.tensor.wgmma_flop_per_clock:
        raise SpecError(f"expected a GPU with warpgroup instructions, found {gpu.name}")
    if attention.effective_window is not None:
        raise SpecError(f"attention.window: expected none, found {attention.window}")
    build = build_of("flash3_fwd", attention, gpu, FLASH3)
    tile = _tile(build, gpu)
    grid = Grid(packed=1, splits=(1,) * len(attention.sequences))
    step = _flash3_as_built(flash3_step(tile, dtype=attention.dtype), build)
    return (grid_launch(attention, tile, grid, name="flash3_fwd", step=step),)


@lru_cache(maxsize=1024)
def _flash3_as_built(step: Step, build: CompiledKernel) -> Step:
    ring = replace(step, ping_pong=False, stages=build.stages)
    return ring.with_more(Pipe.EXP2, _row_exps(build))


def _forward(
    name: str, attention: Attention, gpu: Gpu, options: Options, *, packed: int, splits: int
) -> Launch:
    build = build_of(name, attention, gpu, options)
    tile = _tile(build, gpu)
    grid = Grid(packed=packed, splits=(splits,) * len(attention.sequences), heads_inner=splits > 1)
    step = _as_built(flash2_step(attention, tile), build)
    return grid_launch(attention, tile, grid, name=name, step=step)


@lru_cache(maxsize=1024)
def _as_built(step: Step, build: CompiledKernel) -> Step:
    """The step with what these kernels do beside FlashAttention-2's.

    They rescale rows with exponentials of their own, and compare and select every score. Two
    barriers and the waits between them are a round. K and V of a tile are waited for together; of a
    build of n stages, loads of n - 2 tiles run ahead of the tile that is multiplied: with two
    stages the next tile is asked for at the end of the loop, and waited for at its start.
    """
    scores = (build.block_m or 0) * (build.block_n or 0)
    return replace(
        step.with_more(Pipe.EXP2, _row_exps(build)).with_more(Pipe.FP32, 2.0 * scores),
        loads=1,
        prefetch=build.stages > 2,
        syncs=max(1.0, build.barriers / 2),
    )


def _tile(build: CompiledKernel, gpu: Gpu) -> Tile:
    """A build's tile."""
    block_m, block_n = build.block_m or 0, build.block_n or 0
    wgmma = bool(gpu.tensor.wgmma_flop_per_clock) and block_m >= 64
    return Tile(
        block_m=block_m,
        block_n=block_n,
        num_warps=build.threads // 32,
        head_dim=build.head_dim,
        stages=max(1, build.stages - 1),  # buffers in shared memory
        registers=build.registers,
        smem=build.smem_bytes,
        matrix_path="wgmma" if wgmma else "mma_sync",
    )


def _row_exps(build: CompiledKernel) -> float:
    """Exponentials that rescale a tile's rows once.

    The four lanes that share a row of an accumulator each take it, in every warp along the keys.
    """
    rows = build.block_m or 0
    return 4.0 * rows * max(1, build.num_warps * 16 // rows)
