"""The work of a KV-outer kernel from its passes, and what of its tensors it touches again."""

import numpy as np

from gpusim.schedules.launch import Operand
from gpusim.schedules.loops import Loop, loop_rereads
from gpusim.schedules.mask import kv_bytes
from gpusim.schedules.passes import Passes, PassGrid
from gpusim.schedules.work import Ints, Tiles, Work
from gpusim.spec.attention import Attention


def pass_work(
    attention: Attention, grid: PassGrid, table: tuple[Passes, Ints], loop: Ints, store: Ints
) -> Work:
    """The passes as work items, each owned by its CTA; K and V are loaded before a pass' loop.

    CTAs are numbered in grid order, (batch, head, split) with the first fastest; those without a
    pass are left out.

    Args:
        attention: the problem.
        grid: its layout.
        table: of `pass_table`.
        loop, store: bytes read in the loop of a pass, and written, a row each.
    """
    passes, sizes = table
    copies = np.array([s.count for s in attention.sequences])
    heads, batch = attention.q_heads, attention.batch
    splits = np.split(passes.split, np.cumsum(sizes)[:-1])
    one_head = np.concatenate(
        [
            (z * (heads * batch) + np.arange(end - n, end)[:, None]).ravel()
            for z, n, end in zip(splits, copies, np.cumsum(copies), strict=True)
        ]
    )
    position = one_head + np.arange(heads)[:, None] * batch
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
        copies=copies,
        heads=heads,
        owner=_numbered(position.ravel()),
        row_block=grid.rows,
        row_stride=grid.splits,
    )


def _numbered(positions: Ints) -> Ints:
    """Positions numbered without gaps, in their order.

    >>> _numbered(np.array([5, 2, 2, 9])).tolist()
    [1, 0, 0, 2]
    """
    taken = np.zeros(int(positions.max()) + 1, dtype=bool)
    taken[positions] = True
    numbers: Ints = (np.cumsum(taken) - 1)[positions]
    return numbers


def num_workers(work: Work) -> int:
    """CTAs that own the work."""
    assert work.owner is not None  # `pass_work` sets it
    return int(work.owner.max()) + 1


def revisited(name: str, unique: float, requested: float, distance: float) -> Operand:
    """A tensor that every pass comes back to, after so many bytes."""
    again = ((requested - unique, distance),)
    return Operand(name=name, unique_bytes=unique, requested_bytes=requested, rereads=again)


def kv_operand(
    attention: Attention, work: Work, *, splits: int, slots: int, others: float
) -> Operand:
    """K and V: read by every query head and split for itself, distinct by KV head.

    Splits are the grid's outermost loop, heads the next, sequences the innermost.

    Args:
        attention: the problem.
        work: of `pass_work`.
        splits: query splits of a head and sequence.
        slots: CTAs that the GPU holds at once.
        others: bytes of all other tensors.
    """
    requested = work.total(work.tiles.load_bytes)
    unique = min(requested, kv_bytes(attention))
    ctas, group = num_workers(work) / splits, attention.group_size
    share = group / attention.q_heads
    loops = (
        Loop(splits, ctas, unique, others),
        Loop(group, ctas / attention.q_heads, unique * share, others * share),
    )
    return Operand(
        name="kv",
        unique_bytes=unique,
        requested_bytes=requested,
        heads_per_stream=group,
        rereads=loop_rereads(unique, loops, slots),
    )
