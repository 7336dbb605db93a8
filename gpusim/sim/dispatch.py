"""What each CTA of a launch has to do, in the order in which CTAs start."""

from collections.abc import Iterator

import numpy as np

from gpusim.schedules.work import Work

#: Work items done in one go: the first one's number, its row in the work table, how many.
Batch = tuple[int, int, int]
#: A CTA: its number if it owns its items, else -1, and the items.
Cta = tuple[int, Iterator[Batch]]

#: A slot takes at most this share of a run of equal items at once, divided by the number of slots.
MERGE_SHARE = 0.125


def ctas(work: Work, *, lanes: int, merge: bool) -> Iterator[Cta]:
    """CTAs in the order in which slots take them.

    Items that nobody owns are one list that all lanes draw from: a CTA per item, or the workers of
    a persistent kernel, it comes to the same. Items with owners make a CTA per worker.

    Args:
        work: of the launch.
        lanes: CTAs that run at once.
        merge: hand out runs of equal items several at a time, fewer and fewer towards their end, so
            that the tail is as fine as without merging.
    """
    order = work.order()
    if work.owner is not None:
        return _owned(order.tolist(), work)
    items = (
        _merged(order, lanes) if merge else ((i, row, 1) for i, row in enumerate(order.tolist()))
    )
    return iter([(-1, items)] * lanes)


def _merged(order: np.ndarray, lanes: int) -> Iterator[Batch]:
    starts = np.flatnonzero(np.r_[True, order[1:] != order[:-1]])
    lengths = np.diff(np.r_[starts, len(order)])
    share = MERGE_SHARE / lanes
    for first, row, left in zip(
        starts.tolist(), order[starts].tolist(), lengths.tolist(), strict=True
    ):
        while left:
            taken = max(1, int(left * share))
            yield first, row, taken
            first += taken
            left -= taken


def _owned(order: list[int], work: Work) -> Iterator[Cta]:
    assert work.owner is not None  # the caller looked
    by_owner = np.argsort(work.owner, kind="stable")
    workers, starts = np.unique(work.owner[by_owner], return_index=True)
    ends = [*starts[1:].tolist(), len(by_owner)]
    for worker, start, end in zip(workers.tolist(), starts.tolist(), ends, strict=True):
        yield worker, iter([(i, order[i], 1) for i in by_owner[start:end].tolist()])
