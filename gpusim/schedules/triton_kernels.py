"""The project's own Triton kernels (`validation/kernels`): how they are launched, and what of.

Measured rows name them `gpusim_triton_<schedule>`. Tiles are the same on every architecture and
head size; registers and shared memory are what the compiler took (`gpusim/spec/compiled.py`).
Products of 64 rows or more use warpgroup instructions on Hopper, all others `mma.sync`.
"""

from dataclasses import replace

from gpusim.errors import SpecError
from gpusim.schedules.combine import combine_launch, flash2_combine
from gpusim.schedules.flash1 import pass_launch
from gpusim.schedules.flash3_step import flash3_step
from gpusim.schedules.forward import grid_launch
from gpusim.schedules.grid import Grid
from gpusim.schedules.launch import Launch
from gpusim.schedules.lean import lean_launch
from gpusim.schedules.occupancy import slots_of
from gpusim.schedules.outputs import list_outputs
from gpusim.schedules.splits import flash1_num_splits, flash2_num_splits
from gpusim.schedules.step import Pipe, Step
from gpusim.schedules.stream_k import lean_workers
from gpusim.schedules.tile import Tile
from gpusim.spec.attention import Attention
from gpusim.spec.compiled import CompiledKernel, compiled_kernel
from gpusim.spec.gpu import Gpu
from gpusim.units import ceil_div

Options = dict[str, int]

FLASH1 = {"block_n": 128, "num_warps": 4, "stages": 1}
FLASH2 = {"block_m": 128, "block_n": 64, "num_warps": 8, "stages": 2}
#: Decode: the 16 rows of a matrix instruction hold the packed heads of a group.
SPLIT_KV = {"block_m": 16, "block_n": 64, "num_warps": 4, "stages": 2}
LEAN = SPLIT_KV | {"stages": 3}
FLASH3 = {"block_m": 128, "block_n": 128, "stages": 2}


def flash1_options(attention: Attention, gpu: Gpu) -> Options:
    """Version 1's split heuristic, with the CTAs of this build that fit."""
    build = _build("flash1_fwd", attention, gpu, FLASH1)
    steps = ceil_div(max(s.q_len for s in attention.sequences), 16)
    batch_heads = attention.batch * attention.q_heads
    slots = slots_of(gpu, **build.resources)
    return FLASH1 | {"num_splits": flash1_num_splits(batch_heads, slots, steps)}


def flash2_options(attention: Attention, gpu: Gpu) -> Options:  # noqa: ARG001
    """The tile."""
    return FLASH2


def split_kv_options(attention: Attention, gpu: Gpu) -> Options:
    """FlashAttention-2's split heuristic, with the CTAs of this build that fit."""
    build = _build("split_fwd", attention, gpu, SPLIT_KV)
    rows = max(s.q_len for s in attention.sequences) * attention.group_size
    tiles = attention.batch * attention.kv_heads * ceil_div(rows, SPLIT_KV["block_m"])
    blocks = ceil_div(max(s.kv_len for s in attention.sequences), SPLIT_KV["block_n"])
    splits = flash2_num_splits(tiles, slots_of(gpu, **build.resources), blocks)
    combine_rows = flash2_combine(attention.head_dim).block_m
    return SPLIT_KV | {"num_splits": splits, "combine_rows": combine_rows}


def lean_options(attention: Attention, gpu: Gpu) -> Options:
    """LeanAttention's grid of at most two workers an SM."""
    tile = _tile(_build("lean_fwd", attention, gpu, LEAN), gpu)
    planned = list_outputs(attention, tile, attention.group_size).planned
    longest = ceil_div(max(s.kv_len for s in attention.sequences), tile.block_n)
    workers = lean_workers(int(planned.sum()), len(planned), longest, gpu.sm.count)
    return LEAN | {"workers": workers}


def flash3_options(attention: Attention, gpu: Gpu) -> Options:  # noqa: ARG001
    """The tile."""
    return FLASH3


def flash1(attention: Attention, gpu: Gpu) -> tuple[Launch, ...]:
    """`validation/kernels/flash1.py`: a step loads its own rows, nothing ahead."""
    if attention.effective_window is not None:
        raise SpecError(f"attention.window: expected none, found {attention.window}")
    options = flash1_options(attention, gpu)
    build = _build("flash1_fwd", attention, gpu, FLASH1)
    keys, splits = options["block_n"], options["num_splits"]
    launch = pass_launch(attention, gpu, keys=keys, splits=splits, resources=build.resources)
    # Merging with the passes before takes one exponential a side.
    step = _with_mask(launch.step.with_more(Pipe.EXP2, 2 * _row_exps(build)), build)
    return (replace(launch, name=build.kernel, step=replace(step, prefetch=False)),)


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
    build = _build("lean_fwd", attention, gpu, LEAN)
    launch = lean_launch(attention, gpu, _tile(build, gpu), attention.group_size)
    return (replace(launch, name=build.kernel, step=_as_built(launch.step, build)),)


def flash3(attention: Attention, gpu: Gpu) -> tuple[Launch, ...]:
    """`validation/kernels/flash3.py`: two consumer warpgroups that run freely, and a producer."""
    if not gpu.tensor.wgmma_flop_per_clock:
        raise SpecError(f"expected a GPU with warpgroup instructions, found {gpu.name}")
    if attention.effective_window is not None:
        raise SpecError(f"attention.window: expected none, found {attention.window}")
    launch = _forward("flash3_fwd", attention, gpu, FLASH3, packed=1, splits=1)
    build = _build("flash3_fwd", attention, gpu, FLASH3)
    step = flash3_step(_tile(build, gpu), dtype=attention.dtype)
    step = replace(step, ping_pong=False).with_more(Pipe.EXP2, _row_exps(build))
    return (replace(launch, step=step),)


def _forward(
    name: str, attention: Attention, gpu: Gpu, options: Options, *, packed: int, splits: int
) -> Launch:
    build = _build(name, attention, gpu, options)
    grid = Grid(packed=packed, splits=(splits,) * len(attention.sequences), heads_inner=splits > 1)
    launch = grid_launch(attention, _tile(build, gpu), grid, name=name)
    return replace(launch, step=_as_built(launch.step, build))


def _as_built(step: Step, build: CompiledKernel) -> Step:
    """FlashAttention-2's step, and what these kernels do beside: rescale rows, mask every tile."""
    return _with_mask(step.with_more(Pipe.EXP2, _row_exps(build)), build)


def _with_mask(step: Step, build: CompiledKernel) -> Step:
    """A comparison and a selection for each score."""
    scores = (build.block_m or 0) * (build.block_n or 0)
    return step.with_more(Pipe.FP32, 2.0 * scores)


def _tile(build: CompiledKernel, gpu: Gpu) -> Tile:
    """A build's tile: of n stages, loads of n - 1 tiles run ahead."""
    block_m, block_n = build.block_m or 0, build.block_n or 0
    wgmma = bool(gpu.tensor.wgmma_flop_per_clock) and block_m >= 64
    return Tile(
        block_m=block_m,
        block_n=block_n,
        num_warps=build.threads // 32,
        head_dim=build.head_dim,
        stages=max(1, build.stages - 1),
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


def _build(kernel: str, attention: Attention, gpu: Gpu, options: Options) -> CompiledKernel:
    """The build for a problem.

    Raises:
        SpecError: for a problem that no kernel takes, or an architecture without builds.
    """
    check_problem(attention)
    known = {key: options[key] for key in options if key in CompiledKernel.__dataclass_fields__}
    shape = {"head_dim": attention.head_dim, "causal": attention.causal}
    return compiled_kernel(kernel, gpu.architecture, **shape, **known)


def check_problem(attention: Attention) -> None:
    """Refuse what no kernel of the project takes.

    Raises:
        SpecError: for other head sizes than 64 and 128, FP8, or a paged cache.
    """
    dims = (attention.head_dim, attention.value_dim)
    if dims not in ((64, 64), (128, 128)):
        raise SpecError(
            f"attention.head_dim: expected 64 or 128 for K and V, found {dims[0]} and {dims[1]}"
        )
    for field, dtype in (("dtype", attention.dtype), ("kv_dtype", attention.cache_dtype)):
        if dtype == "fp8":
            raise SpecError(f"attention.{field}: expected fp16 or bf16, found fp8")
    if attention.page_size is not None:
        raise SpecError(f"attention.page_size: expected none, found {attention.page_size}")
