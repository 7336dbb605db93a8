"""Forward launches of a tile: FlashAttention-2's, and what other kernels share with it."""

from collections.abc import Mapping

from gpusim.schedules.grid import Grid, grid_operands, grid_work
from gpusim.schedules.launch import Launch, Operand
from gpusim.schedules.step import Step, attention_step
from gpusim.schedules.tile import Tile
from gpusim.schedules.work import Work
from gpusim.spec.attention import BYTES, Attention


def packed_heads(attention: Attention) -> int:
    """Query heads that FlashAttention-2 packs into the rows of one tile.

    With one query a sequence, several query heads per KV head and no window, the group's heads
    become query rows (`seqlenq_ngroups_swapped` in `flash_api.cpp`): K and V are then read once
    per KV head.
    """
    swaps = attention.single_query and attention.effective_window is None
    return attention.group_size if swaps else 1


def forward_launch(
    attention: Attention, tile: Tile, *, name: str, splits: int = 1, packed: int | None = None
) -> Launch:
    """One CTA per (query tile, split, batch, head), of as many packed heads as upstream packs.

    Grid order: (m, batch, head) without splits, (m, split, batch·head) with them, first fastest.
    With splits, each CTA writes a normalised fp32 partial output and its log-sum-exp instead of O.
    """
    grid = Grid(
        packed=packed or packed_heads(attention),
        splits=(splits,) * len(attention.sequences),
        heads_inner=splits > 1,
    )
    return grid_launch(attention, tile, grid, name=name)


def grid_launch(
    attention: Attention, tile: Tile, grid: Grid, *, name: str, step: Step | None = None
) -> Launch:
    """A CTA per tile of any grid, with the step of FlashAttention-2 unless one is given."""
    work = grid_work(attention, tile, grid)
    reads, writes = grid_operands(attention, work, grid)
    choice = tile.choice | {"num_splits": max(grid.splits)}
    return tile_launch(attention, tile, work, reads, writes, name=name, step=step, choice=choice)


def tile_launch(
    attention: Attention,
    tile: Tile,
    work: Work,
    reads: tuple[Operand, ...],
    writes: tuple[Operand, ...],
    *,
    name: str,
    step: Step | None = None,
    choice: Mapping[str, int] | None = None,
) -> Launch:
    """Work with the resources of a tile, and its step and choice unless others are given."""
    return Launch(
        name=name,
        **tile.resources,
        step=step or flash2_step(attention, tile),
        work=work,
        reads=reads,
        writes=writes,
        tile=choice or tile.choice,
    )


def flash2_step(attention: Attention, tile: Tile) -> Step:
    """The step of FlashAttention-2 for the problem's types."""
    kv_bytes = BYTES[attention.cache_dtype]
    return attention_step(tile, matrix_dtype=attention.dtype, kv_element_bytes=kv_bytes)
