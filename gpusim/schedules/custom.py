"""A kernel described in a workload file, turned into launches like any built-in schedule."""

from dataclasses import replace

import numpy as np

from gpusim.errors import SpecError
from gpusim.schedules.combine import combine_launch, flash2_combine
from gpusim.schedules.grid import Grid, grid_operands, grid_work
from gpusim.schedules.launch import Launch
from gpusim.schedules.lean import lean_launch
from gpusim.schedules.occupancy import occupancy
from gpusim.schedules.step import Part, Pipe, Step, attention_step
from gpusim.schedules.tile import Tile
from gpusim.spec.attention import BYTES, Attention
from gpusim.spec.formula import evaluate
from gpusim.spec.gpu import Gpu
from gpusim.spec.kernel import Kernel, KernelPart
from gpusim.units import round_up


def custom(name: str, attention: Attention, gpu: Gpu, kernel: Kernel) -> tuple[Launch, ...]:
    """The kernel, and a combine kernel like FlashAttention-2's if it splits.

    Head sizes are padded to multiples of 16, the depth of a 16-bit matrix instruction, or to powers
    of two. A kernel that does not prune the window visits every tile of the causal range.

    Raises:
        SpecError: if a formula has no positive value for this problem, or no CTA fits on an SM.
    """
    if not kernel.prunes_window:
        attention = attention.model_copy(update={"window": None})
    tile = _tile(attention, kernel)
    packed = attention.group_size if kernel.pack_gqa else 1
    if kernel.assignment == "stream_k":
        launch = lean_launch(attention, gpu, tile, packed)
    else:
        launch = _grid_launch(attention, tile, kernel, packed)
    launch = replace(
        launch,
        name=name,
        step=_step(attention, tile, kernel),
        smem_bytes=launch.smem_bytes if kernel.smem_bytes is None else kernel.smem_bytes,
        tile=tile.choice | {"num_splits": kernel.num_splits},
    )
    if kernel.assignment in ("persistent", "static"):
        launch = _persistent(launch, gpu, static=kernel.assignment == "static")
    if kernel.num_splits == 1:
        return (launch,)
    splits = (kernel.num_splits,) * len(attention.sequences)
    return launch, combine_launch(attention, flash2_combine(tile.value_dim), splits)


def _tile(attention: Attention, kernel: Kernel) -> Tile:
    return Tile(
        block_m=kernel.block_m,
        block_n=kernel.block_n,
        num_warps=kernel.num_warps,
        head_dim=_padded(attention.head_dim, kernel),
        v_head_dim=_padded(attention.value_dim, kernel),
        stages=kernel.stages,
        registers=kernel.registers,
        element_bytes=BYTES[attention.dtype],
    )


def _padded(head_dim: int, kernel: Kernel) -> int:
    return 1 << (head_dim - 1).bit_length() if kernel.power_of_two else round_up(head_dim, 16)


def _grid_launch(attention: Attention, tile: Tile, kernel: Kernel, packed: int) -> Launch:
    grid = Grid(
        packed=packed,
        splits=(kernel.num_splits,) * len(attention.sequences),
        heads_inner=kernel.num_splits > 1,
        longest_first=kernel.order == "longest_first",
        sorted_sequences=kernel.order == "longest_first",
    )
    work = grid_work(attention, tile, grid)
    reads, writes = grid_operands(attention, work, grid)
    return Launch(
        name="",
        threads=tile.threads,
        registers=tile.registers_per_thread,
        smem_bytes=tile.smem_bytes,
        step=_step(attention, tile, kernel),
        work=work,
        reads=reads,
        writes=writes,
    )


def _step(attention: Attention, tile: Tile, kernel: Kernel) -> Step:
    element = BYTES[attention.cache_dtype]
    default = attention_step(tile, matrix_dtype=attention.dtype, kv_element_bytes=element)
    sizes = {
        "M": tile.block_m,
        "N": tile.block_n,
        "D": tile.head_dim,
        "DV": tile.value_dim,
        "W": tile.num_warps,
        "E": element,
    }
    tracks = default.tracks
    if kernel.tracks is not None:
        tracks = tuple(
            tuple(_part(part, sizes, f"tracks[{t}][{p}]") for p, part in enumerate(track))
            for t, track in enumerate(kernel.tracks)
        )
    return Step(
        tracks=tracks,
        ping_pong=kernel.ping_pong,
        matrix_path=kernel.matrix_path,
        matrix_dtype=attention.dtype,
        load_bytes=float(tile.block_n * (tile.head_dim + tile.value_dim) * element),
        loads=kernel.loads,
        prefetch=kernel.prefetch,
        stages=kernel.stages,
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


def _persistent(launch: Launch, gpu: Gpu, *, static: bool) -> Launch:
    """As many workers as the GPU holds at once."""
    fit = occupancy(
        gpu, threads=launch.threads, registers=launch.registers, smem_bytes=launch.smem_bytes
    )
    items = launch.work.num_items
    workers = min(items, max(1, fit.ctas_per_sm) * gpu.sm.count)
    work = replace(launch.work, owner=np.arange(items) % workers) if static else launch.work
    return replace(launch, work=work, workers=workers)
