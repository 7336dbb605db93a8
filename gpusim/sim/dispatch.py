"""What each CTA of a launch has to do, in the order in which CTAs start."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gpusim.machine.place import Placed
from gpusim.schedules.work import Floats, Ints

#: What an item takes: steps, and HBM and L2 bytes a step.
Row = tuple[float, float, float]
#: Work items done in one go: the first one's number, its row, how many.
Batch = tuple[int, int, int]
#: A CTA: its number if it owns its items, else -1, and the items.
Cta = tuple[int, Iterator[Batch]]

#: A slot takes at most this share of the items left at once, divided by the number of slots.
MERGE_SHARE = 0.0625
#: A worker that nobody waits for does its items in at most so many goes, where so many workers
#: follow one another on a lane that what overlaps in each of them evens out.
CHUNKS, MANY_ROUNDS = 16, 8


def dispatch(placed: Placed, *, merge: bool) -> tuple[list[Row], Iterator[Cta]]:
    """Rows, and CTAs in the order in which slots take them.

    Items that nobody owns are one list that all lanes draw from: a CTA per item, or the workers of
    a persistent kernel, it comes to the same. Items with owners make a CTA per worker.

    With `merge`, runs of equal items are handed out several at a time, fewer and fewer as the work
    runs out, so that the tail is as fine as without; and a worker that nobody waits for does its
    items in a few goes.
    """
    work = placed.launch.work
    order = work.order()
    rows = _rows(placed.units, placed.hbm_bytes, placed.l2_bytes, np.ones(len(placed.units)))
    if work.owner is None:
        items = _merged(order, placed.lanes) if merge else _single(range(len(order)), order)
        return rows, iter([(-1, items)] * placed.lanes)
    if merge and work.peers is None and placed.launch.num_ctas >= MANY_ROUNDS * placed.lanes:
        return _chunked(placed, order, work.owner)
    return rows, _owned(order, work.owner)


def _chunked(
    placed: Placed, order: NDArray[np.int32], owner: Ints
) -> tuple[list[Row], Iterator[Cta]]:
    """Each worker's items in at most `CHUNKS` runs, a row per run."""
    by_owner = np.argsort(owner, kind="stable")
    own, items = owner[by_owner], np.bincount(owner)
    place = np.arange(len(own)) - (np.cumsum(items) - items)[own]
    chunk = own * CHUNKS + place * CHUNKS // items[own]
    counts = np.bincount(chunk)
    units, hbm, l2 = (
        np.bincount(chunk, weights=column[order[by_owner]]).astype(np.float64)
        for column in (placed.units, placed.hbm_bytes, placed.l2_bytes)
    )
    used = np.flatnonzero(counts)
    first = by_owner[np.searchsorted(chunk, used)]
    starts = np.searchsorted(used, np.arange(len(items)) * CHUNKS).tolist()
    batches = list(zip(first.tolist(), used.tolist(), counts[used].tolist(), strict=True))
    ctas = zip(range(len(items)), starts, [*starts[1:], len(batches)], strict=True)
    return _rows(units, hbm, l2, counts), ((w, iter(batches[i:j])) for w, i, j in ctas if j > i)


def _rows(units: Floats, hbm: Floats, l2: Floats, counts: NDArray[np.generic]) -> list[Row]:
    """Steps of one of `counts` items, and bytes a step."""
    pace = np.where(units > 0, units, 1.0)
    steps = units / np.maximum(counts, 1)
    return list(zip(steps.tolist(), (hbm / pace).tolist(), (l2 / pace).tolist(), strict=True))


def _single(items: range | list[int], order: NDArray[np.int32]) -> Iterator[Batch]:
    rows = order.tolist()
    return ((item, rows[item], 1) for item in items)


def _merged(order: NDArray[np.int32], lanes: int) -> Iterator[Batch]:
    starts = np.flatnonzero(np.r_[True, order[1:] != order[:-1]])
    lengths = np.diff(np.r_[starts, len(order)])
    share, remaining = MERGE_SHARE / lanes, len(order)
    for first, row, left in zip(
        starts.tolist(), order[starts].tolist(), lengths.tolist(), strict=True
    ):
        while left:
            taken = min(left, max(1, int(remaining * share)))
            yield first, row, taken
            first += taken
            left -= taken
            remaining -= taken


def _owned(order: NDArray[np.int32], owner: Ints) -> Iterator[Cta]:
    by_owner = np.argsort(owner, kind="stable")
    workers, starts = np.unique(owner[by_owner], return_index=True)
    ends = [*starts[1:].tolist(), len(by_owner)]
    rows = order.tolist()
    for worker, start, end in zip(workers.tolist(), starts.tolist(), ends, strict=True):
        yield worker, iter([(i, rows[i], 1) for i in by_owner[start:end].tolist()])
