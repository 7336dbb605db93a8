"""The work of one launch: a table of distinct work items, and the loops that repeat them."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from gpusim.schedules.columns import Floats, Ints
from gpusim.schedules.lists import Lists, in_turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiles:
    """Columns, a row per distinct work item (an output tile, or a part of one).

    Attributes:
        steps: main-loop steps; a schedule makes whole ones.
        q_start, q_rows: first query row and number of real rows (rows of packed heads count).
        kv_start, kv_stop: keys that the item walks over.
        loop_bytes: bytes requested from L2 in the main loop.
        load_bytes, store_bytes: bytes of the prologue (Q) and the epilogue (O, statistics).
    """

    steps: Ints | Floats
    q_start: Ints
    q_rows: Ints
    kv_start: Ints
    kv_stop: Ints
    loop_bytes: Floats
    load_bytes: Floats
    store_bytes: Floats

    def __len__(self) -> int:
        return len(self.steps)


@dataclass(frozen=True, kw_only=True)
class Work:
    """Work items in dispatch order, kept as loops over distinct rows.

    Group i is rows `group_rows[i]` starting at `group_first[i]`, repeated `copies[i]` times
    (sequences alike); the whole is repeated for each of `heads`. The item order is

        heads_inner=False:  for head: for group: for copy: for row     (FA2 grid: m, batch, head)
        heads_inner=True:   for group: for copy: for head: for row     (FA2 split grid)
        section=n:          ... for section of n heads: for row: for head of the section   (FA3)

    Attributes:
        tiles: the distinct rows.
        section: consecutive heads that take turns row by row.
        sequence_order: groups in the order in which they are worked on; None: as they stand.
        packed: query heads whose rows share a tile (GQA packing); row r is query r // packed.
        lists: what each worker does, if items belong to workers (Stream-K, static persistent
            kernels); None if idle workers pull the next item. With lists the order is worker by
            worker, and the loops only say what belongs to which sequence.
        peers: with lists, per row, how many of the workers after its own it waits for: their first
            items' partial results are merged into it at its end.
        stream: with lists, of each item which sequence of the batch (copies count) and head or
            packed group it belongs to, numbered with heads inside, if no loops tell it (Stream-K: a
            single group); None: group i is what every copy of the i-th entry does in every head.
        row_block, row_stride: if given, a tile's query rows are not one range but every
            `row_stride`-th block of `row_block` rows from `q_start` on.
    """

    tiles: Tiles
    group_first: Ints
    group_rows: Ints
    copies: Ints
    heads: int
    heads_inner: bool = False
    section: int = 1
    sequence_order: Ints | None = None
    packed: int = 1
    lists: Lists | None = None
    peers: Ints | None = None
    stream: Ints | None = None
    row_block: int = 0
    row_stride: int = 0

    def query_rows(self, row: int) -> Ints:
        """Query rows of one row of the table."""
        start, rows = int(self.tiles.q_start[row]), int(self.tiles.q_rows[row])
        return start + self.row_offsets(rows)

    def row_offsets(self, rows: int) -> Ints:
        """Of the first rows of a tile, how far they lie behind its first."""
        index = np.arange(rows)
        if not self.row_block:
            return index
        block: Ints = index // self.row_block * self.row_stride * self.row_block
        return block + index % self.row_block

    @cached_property
    def counts(self) -> Ints:
        """How often each distinct row occurs."""
        if self.lists is not None:
            return self.lists.counts(len(self.tiles))
        return self.copies.repeat(self.group_rows) * self.heads

    @property
    def groups(self) -> Ints:
        """Groups in working order."""
        if self.sequence_order is not None:
            return self.sequence_order
        return np.arange(len(self.group_rows))

    @cached_property
    def num_items(self) -> int:
        """Work items in all."""
        if self.lists is not None:
            return self.lists.num_items
        return int((self.group_rows * self.copies).sum()) * self.heads

    @cached_property
    def total_steps(self) -> float:
        """Main-loop steps of all items."""
        return self.total(self.tiles.steps)

    def order(self) -> Ints:
        """Row index of every item in dispatch order."""
        if self.lists is not None:
            return self.lists.order()
        outer = self.heads // self.section
        repeats = self.copies * (outer if self.heads_inner else 1)
        blocks = [
            np.tile(np.arange(first, first + rows, dtype=np.int64).repeat(self.section), int(n))
            for first, rows, n in zip(
                *(x[self.groups] for x in (self.group_first, self.group_rows, repeats)), strict=True
            )
        ]
        once = np.concatenate(blocks) if blocks else np.empty(0, np.int64)
        return once if self.heads_inner else np.tile(once, outer)

    def total(self, column: Ints | Floats) -> float:
        """Sum of a column over all items.

        Not by `numpy.dot`: that of long columns depends on the number of threads that the machine
        grants, in the last digit.
        """
        return float(np.einsum("i,i->", column, self.counts))


def flat_work(
    copies: ArrayLike,
    *,
    steps: ArrayLike,
    loop_bytes: ArrayLike,
    store_bytes: ArrayLike = 0.0,
    q_rows: ArrayLike = 0,
    kv_rows: ArrayLike = 0,
    heads: int = 1,
) -> Work:
    """Kinds of equal items, one kind after another.

    `copies` has an entry for each kind, or is the number of items of the only one. Other scalars
    stand for all kinds alike. For kernels that do not walk KV tiles under a mask: copies, combines,
    matrix products.
    """
    count = np.array(copies, dtype=np.int64, ndmin=1)
    zero, nothing = 0 * count, np.zeros(len(count))
    return Work(
        tiles=Tiles(
            steps=np.add(zero, steps),
            q_start=zero,
            q_rows=np.add(zero, q_rows),
            kv_start=zero,
            kv_stop=np.add(zero, kv_rows),
            loop_bytes=np.add(nothing, loop_bytes),
            load_bytes=nothing,
            store_bytes=np.add(nothing, store_bytes),
        ),
        group_first=np.arange(len(count)),
        group_rows=zero + 1,
        copies=count,
        heads=heads,
        heads_inner=True,
    )


def dealt(work: Work, workers: int) -> Work:
    """The work with a list for each of so many workers: every n-th item."""
    return replace(work, lists=in_turn(work.order(), workers))


def remaining(work: Work, amount: Floats) -> Floats:
    """Sum of `amount` from each row's last item (included) to the end of the order."""
    ends = np.cumsum(amount)
    first, rows = work.group_first, work.group_rows
    group_end = ends[first + rows - 1]
    group_sum = group_end - ends[first] + amount[first]
    inner = work.heads if work.heads_inner else 1
    total = group_sum * work.copies * inner
    later = np.empty_like(total)
    later[work.groups] = total[work.groups][::-1].cumsum()[::-1] - total[work.groups]
    tail: Floats = (np.repeat(group_end, rows) - ends) * work.section + amount
    total_after: Floats = tail + np.repeat(later, rows)
    return total_after
