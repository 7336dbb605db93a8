"""What each CTA of a launch has to do, in the order in which CTAs start."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpusim.machine.placed import Placed
from gpusim.schedules.work import Floats, Ints

#: A slot takes at most this share of the items left at once, divided by the number of slots.
MERGE_SHARE = 0.0625
#: A worker that nobody waits for does its items in at most so many goes, where so many workers
#: follow one another on a lane that what overlaps in each of them evens out.
CHUNKS, MANY_ROUNDS = 16, 8

Rows = NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatch:
    """CTAs as columns: CTA c does batches `cta_first[c]` to `cta_first[c + 1]`, one after another.

    Attributes:
        steps: per row, steps of an item.
        hbm_step, l2_step: per row, HBM and L2 bytes of a step.
        item: per batch, the number of its first item in the order of the work.
        row, count: per batch, the row of its items, which are equal, and how many they are.
        cta_first: first batch of each CTA, and at the end how many batches there are.
        worker: number of each CTA, where CTAs own their items.
    """

    steps: Floats
    hbm_step: Floats
    l2_step: Floats
    item: Ints
    row: Ints
    count: Ints
    cta_first: Ints
    worker: Ints


def dispatch(placed: Placed, *, merge: bool) -> Dispatch:
    """CTAs in the order in which slots take them.

    Items that nobody owns are one list that all lanes draw from: a CTA per item, or the workers of
    a persistent kernel, it comes to the same. Items with owners make a CTA per worker.

    With `merge`, runs of equal items are handed out several at a time, fewer and fewer as the work
    runs out, so that the tail is as fine as without; and a worker that nobody waits for does its
    items in a few goes.
    """
    work = placed.launch.work
    order = work.order()
    columns = (placed.units, placed.hbm_bytes, placed.l2_bytes)
    if work.owner is None:
        item, count = _merged(order, placed.lanes) if merge else _single(order)
        return _dispatch(columns, item, order[item], count, np.arange(len(item) + 1))
    by_owner = np.argsort(work.owner, kind="stable")
    if merge and work.peers is None and placed.launch.num_ctas >= MANY_ROUNDS * placed.lanes:
        return _chunked(columns, order, work.owner, by_owner)
    workers, first = np.unique(work.owner[by_owner], return_index=True)
    cta_first = np.append(first, len(by_owner))
    return _dispatch(
        columns, by_owner, order[by_owner], np.ones_like(by_owner), cta_first, worker=workers
    )


def _dispatch(
    columns: tuple[Floats, Floats, Floats],
    item: Ints,
    row: Ints | Rows,
    count: Ints,
    cta_first: Ints,
    *,
    worker: Ints | None = None,
) -> Dispatch:
    """Columns: units, HBM and L2 bytes of one item, by row."""
    units, hbm, l2 = columns
    pace = np.where(units > 0, units, 1.0)
    return Dispatch(
        steps=units,
        hbm_step=hbm / pace,
        l2_step=l2 / pace,
        item=item,
        row=row.astype(np.int64),
        count=count,
        cta_first=cta_first,
        worker=np.arange(len(cta_first) - 1) if worker is None else worker,
    )


def _chunked(
    columns: tuple[Floats, Floats, Floats], order: Rows, owner: Ints, by_owner: Ints
) -> Dispatch:
    """Each worker's items in at most `CHUNKS` runs, a row per run."""
    own, items = owner[by_owner], np.bincount(owner)
    place = np.arange(len(own)) - (np.cumsum(items) - items)[own]
    chunk = own * CHUNKS + place * CHUNKS // items[own]
    counts = np.bincount(chunk)
    used = np.flatnonzero(counts)
    units, hbm, l2 = (
        np.bincount(chunk, weights=column[order[by_owner]])[used] / counts[used]
        for column in columns
    )
    workers = np.flatnonzero(items)
    starts = np.searchsorted(used, workers * CHUNKS)
    return _dispatch(
        (units, hbm, l2),
        by_owner[np.searchsorted(chunk, used)],
        np.arange(len(used)),
        counts[used],
        np.append(starts, len(used)),
        worker=workers,
    )


def _single(order: Rows) -> tuple[Ints, Ints]:
    return np.arange(len(order)), np.ones(len(order), dtype=np.int64)


def _merged(order: Rows, lanes: int) -> tuple[Ints, Ints]:
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
