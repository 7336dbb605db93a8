"""The work of a KV-outer kernel from its passes, and what of its tensors it touches again."""

import numpy as np

from gpusim.schedules.columns import Ints
from gpusim.schedules.launch import Operand
from gpusim.schedules.lists import Lists
from gpusim.schedules.loops import Loop, loop_rereads
from gpusim.schedules.mask import kv_bytes
from gpusim.schedules.passes import Passes, PassGrid
from gpusim.schedules.work import Tiles, Work
from gpusim.spec.attention import Attention


def pass_work(
    attention: Attention, grid: PassGrid, passes: Passes, loop: Ints, store: Ints
) -> Work:
    """The passes as work items, each owned by its CTA; K and V are loaded before a pass' loop.

    Args:
        attention: the problem.
        grid: its layout.
        passes: of `pass_table`.
        loop, store: bytes read in the loop of a pass, and written, a row each.
    """
    sizes = np.bincount(passes.entry)
    kv_loads = (passes.kv_stop - passes.kv_start) * attention.kv_row_bytes
    return Work(
        tiles=Tiles(
            steps=passes.steps,
            q_start=passes.q_start,
            q_rows=passes.q_rows,
            kv_start=passes.kv_start,
            kv_stop=passes.kv_stop,
            loop_bytes=loop.astype(np.float64),
            load_bytes=kv_loads.astype(np.float64),
            store_bytes=store.astype(np.float64),
        ),
        group_first=np.cumsum(sizes) - sizes,
        group_rows=sizes,
        copies=np.array([s.count for s in attention.sequences]),
        heads=attention.q_heads,
        lists=_lists(attention, grid, passes),
        row_block=grid.rows,
        row_stride=grid.splits,
    )


def _lists(attention: Attention, grid: PassGrid, passes: Passes) -> Lists:
    """The passes of each CTA: (batch, head, split), the first fastest, those without rows left out.

    All copies and heads of a sequence have alike lists, one for each split.
    """
    entries = attention.sequences
    copies = np.array([s.count for s in entries])
    splits = np.array([grid.num_splits(s) for s in entries])
    first = np.flatnonzero(np.append(True, np.diff(passes.entry * grid.splits + passes.split)))
    own = np.cumsum(splits) - splits  # of each entry, the list of its first split
    kinds = []
    for split in range(grid.splits):
        some = splits > split
        kinds.append(np.tile(np.repeat(own[some] + split, copies[some]), attention.q_heads))
    return Lists(kind=np.concatenate(kinds), rows=np.arange(len(passes.entry)), first=first)


def revisited(name: str, unique: float, requested: float, distance: float) -> Operand:
    """A tensor that every pass comes back to, after so many bytes."""
    again = ((requested - unique, distance),)
    return Operand(name=name, unique_bytes=unique, requested_bytes=requested, rereads=again)


def kv_operand(
    attention: Attention, grid: PassGrid, work: Work, *, slots: int, others: float
) -> Operand:
    """K and V: read by every query head and split for itself, distinct by KV head.

    Splits are the grid's outermost loop, heads the next, sequences the innermost.

    Args:
        attention: the problem.
        grid: its layout.
        work: of `pass_work`.
        slots: CTAs that the GPU holds at once.
        others: bytes of all other tensors.
    """
    requested = work.total(work.tiles.load_bytes)
    unique = min(requested, kv_bytes(attention))
    ctas, group = grid.num_ctas(attention) / grid.splits, attention.group_size
    share = group / attention.q_heads
    loops = (
        Loop(grid.splits, ctas, unique, others),
        Loop(group, ctas / attention.q_heads, unique * share, others * share),
    )
    return Operand(
        name="kv",
        unique_bytes=unique,
        requested_bytes=requested,
        heads_per_stream=group,
        rereads=loop_rereads(unique, loops, slots),
    )
