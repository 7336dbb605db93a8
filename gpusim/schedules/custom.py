"""A kernel described in a workload file, turned into launches like any built-in schedule."""

from dataclasses import replace
from functools import lru_cache

from gpusim.errors import SpecError
from gpusim.schedules.combine import combine_launch, flash2_combine
from gpusim.schedules.forward import flash2_step, grid_launch
from gpusim.schedules.grid import Grid
from gpusim.schedules.launch import Launch, persistent
from gpusim.schedules.lean import lean_launch
from gpusim.schedules.occupancy import slots_of
from gpusim.schedules.step import Part, Pipe, Step
from gpusim.schedules.tile import Tile
from gpusim.spec.attention import BYTES, Attention
from gpusim.spec.formula import evaluate
from gpusim.spec.gpu import Gpu
from gpusim.spec.kernel import Kernel, KernelPart
from gpusim.units import power_of_two, round_up


def custom(name: str, attention: Attention, gpu: Gpu, kernel: Kernel) -> tuple[Launch, ...]:
    """The kernel, and a combine kernel like FlashAttention-2's if it splits.

    Raises:
        SpecError: if a formula has no positive value for this problem, or no CTA fits on an SM.
    """
    launch = kernel_launch(name, attention, gpu, kernel)
    if kernel.num_splits == 1:
        return (launch,)
    splits = (kernel.num_splits,) * len(attention.sequences)
    combine = flash2_combine(_padded(attention.value_dim, kernel))
    return launch, combine_launch(attention, combine, splits)


def kernel_launch(name: str, attention: Attention, gpu: Gpu, kernel: Kernel) -> Launch:
    """The kernel alone.

    Head sizes are padded to multiples of 16, the depth of a 16-bit matrix instruction, or to powers
    of two. A kernel that does not prune the window visits every tile of the causal range.

    Raises:
        SpecError: if a formula has no positive value for this problem, or no CTA fits on an SM.
    """
    if not kernel.prunes_window:
        attention = attention.model_copy(update={"window": None})
    tile = _tile(attention, kernel)
    packed = attention.group_size if kernel.pack_gqa else 1
    step = _step(flash2_step(attention, tile), tile, attention.cache_dtype, kernel)
    if kernel.assignment == "stream_k":
        launch = lean_launch(attention, gpu, tile, packed)
        return replace(launch, name=name, step=step, tile=tile.choice | {"num_splits": 1})
    grid = _grid(attention, kernel, packed)
    launch = grid_launch(attention, tile, grid, name=name, step=step)
    if kernel.assignment == "tiles":
        return launch
    slots = slots_of(gpu, **tile.resources)
    return persistent(launch, slots, static=kernel.assignment == "static")


def _tile(attention: Attention, kernel: Kernel) -> Tile:
    return Tile(
        block_m=kernel.block_m,
        block_n=kernel.block_n,
        num_warps=kernel.num_warps,
        head_dim=_padded(attention.head_dim, kernel),
        v_head_dim=_padded(attention.value_dim, kernel),
        stages=kernel.stages,
        registers=kernel.registers,
        smem=kernel.smem_bytes,
        matrix_path=kernel.matrix_path,
        converts_per_warp=kernel.converts_per_warp,
        element_bytes=BYTES[attention.dtype],
    )


def _padded(head_dim: int, kernel: Kernel) -> int:
    return power_of_two(head_dim) if kernel.power_of_two else round_up(head_dim, 16)


def _grid(attention: Attention, kernel: Kernel, packed: int) -> Grid:
    return Grid(
        packed=packed,
        splits=(kernel.num_splits,) * len(attention.sequences),
        heads_inner=kernel.num_splits > 1,
        longest_first=kernel.order == "longest_first",
        sorted_sequences=kernel.order == "longest_first",
    )


@lru_cache(maxsize=1024)
def _step(default: Step, tile: Tile, cache_dtype: str, kernel: Kernel) -> Step:
    sizes = {
        "M": tile.block_m,
        "N": tile.block_n,
        "D": tile.head_dim,
        "DV": tile.value_dim,
        "W": tile.num_warps,
        "E": BYTES[cache_dtype],
    }
    tracks = default.tracks
    if kernel.tracks is not None:
        tracks = tuple(
            tuple(_part(part, sizes, f"tracks[{t}][{p}]") for p, part in enumerate(track))
            for t, track in enumerate(kernel.tracks)
        )
    return replace(
        default,
        tracks=tracks,
        ping_pong=kernel.ping_pong,
        loads=kernel.loads,
        prefetch=kernel.prefetch,
        syncs=kernel.syncs,
    )


def _part(part: KernelPart, sizes: dict[str, int], where: str) -> Part:
    amounts = {}
    for pipe, formula in part.amounts.items():
        try:
            amounts[Pipe(pipe)] = evaluate(formula, sizes)
        except ValueError as error:
            raise SpecError(f"kernel.{where}.{pipe}: {error}") from error
    return Part(part.name, amounts, exposed=part.exposed, hidden=part.hidden)
