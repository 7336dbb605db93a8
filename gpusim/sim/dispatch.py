"""What each CTA of a launch has to do, in the order in which CTAs start."""

from dataclasses import dataclass

import numpy as np

from gpusim.machine.placed import Placed
from gpusim.schedules.columns import Floats, Ints
from gpusim.schedules.lists import Lists

#: A slot takes at most this share of the items left at once, divided by the number of slots.
MERGE_SHARE = 0.0625
#: A worker that nobody waits for does its items in at most so many goes, where so many workers
#: follow one another on a lane that what overlaps in each of them evens out.
CHUNKS, MANY_ROUNDS = 16, 8

Columns = tuple[Floats, Floats, Floats]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatch:
    """CTAs as columns: CTA c does batches `cta_first[c]` to `cta_first[c + 1]`, one after another.

    Where items belong to workers, CTA c is worker c.

    Attributes:
        steps: per row, steps of an item.
        hbm_step, l2_step: per row, HBM and L2 bytes of a step.
        item: per batch, the number of its first item in the order of the work.
        row, count: per batch, the row of its items, which are equal, and how many they are.
        cta_first: first batch of each CTA, and at the end how many batches there are.
    """

    steps: Floats
    hbm_step: Floats
    l2_step: Floats
    item: Ints
    row: Ints
    count: Ints
    cta_first: Ints


def dispatch(placed: Placed, *, merge: bool) -> Dispatch:
    """CTAs in the order in which slots take them.

    Items that nobody owns are one list that all lanes draw from: a CTA per item, or the workers of
    a persistent kernel, it comes to the same. Lists make a CTA per worker.

    With `merge`, runs of equal items are handed out several at a time, fewer and fewer as the work
    runs out, so that the tail is as fine as without; and a worker that nobody waits for does its
    items in a few goes.
    """
    work, lists = placed.launch.work, placed.launch.work.lists
    columns = (placed.units, placed.hbm_bytes, placed.l2_bytes)
    if lists is None:
        order = work.order()
        item, count = _merged(order, placed.lanes) if merge else _single(order)
        return _dispatch(columns, item, order[item], count, np.arange(len(item) + 1))
    counts = np.ones(len(placed.units), dtype=np.int64)
    if merge and work.peers is None and placed.launch.num_ctas >= MANY_ROUNDS * placed.lanes:
        columns, lists, counts = _chunked(columns, lists)
    row = lists.order()
    count = counts[row]
    cta_first = np.append(0, np.cumsum(lists.sizes[lists.kind]))
    return _dispatch(columns, np.cumsum(count) - count, row, count, cta_first)


def _dispatch(columns: Columns, item: Ints, row: Ints, count: Ints, cta_first: Ints) -> Dispatch:
    """Columns: units, HBM and L2 bytes of one item, by row."""
    units, hbm, l2 = columns
    pace = np.where(units > 0, units, 1.0)
    return Dispatch(
        steps=units,
        hbm_step=hbm / pace,
        l2_step=l2 / pace,
        item=item,
        row=row,
        count=count,
        cta_first=cta_first,
    )


def _chunked(columns: Columns, lists: Lists) -> tuple[Columns, Lists, Ints]:
    """Each list in at most `CHUNKS` runs: a row per run with their mean, and how many they are."""
    sizes = lists.sizes
    place = np.arange(len(lists.rows)) - np.repeat(lists.first, sizes)
    run = place * CHUNKS // np.repeat(sizes, sizes)
    run += np.repeat(np.arange(len(sizes)) * CHUNKS, sizes)
    counts = np.bincount(run)
    used = np.flatnonzero(counts)
    units, hbm, l2 = (
        np.bincount(run, weights=column[lists.rows])[used] / counts[used] for column in columns
    )
    first = np.searchsorted(used, np.arange(len(sizes)) * CHUNKS)
    runs = Lists(kind=lists.kind, rows=np.arange(len(used)), first=first)
    return (units, hbm, l2), runs, counts[used]


def _single(order: Ints) -> tuple[Ints, Ints]:
    return np.arange(len(order)), np.ones(len(order), dtype=np.int64)


def _merged(order: Ints, lanes: int) -> tuple[Ints, Ints]:
    """First items and counts of batches that lie within runs of equal items."""
    starts = np.flatnonzero(np.r_[True, order[1:] != order[:-1]])
    lengths = np.diff(np.r_[starts, len(order)])
    share, remaining = MERGE_SHARE / lanes, len(order)
    if len(starts) == len(order) or remaining * share < 2:
        return _single(order)
    item: list[int] = []
    count: list[int] = []
    for first, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        left = length
        while left:
            taken = min(left, max(1, int(remaining * share)))
            item.append(first + length - left)
            count.append(taken)
            left -= taken
            remaining -= taken
    return np.array(item, dtype=np.int64), np.array(count, dtype=np.int64)
