"""Workers that wait for the first results of others: what `gpusim.sim.loop` asks about them."""

from collections.abc import Sequence
from typing import NamedTuple

Indices = Sequence[int]


class Waits(NamedTuple):
    """Who waits for whom.

    Attributes:
        worker, peers: per batch, its worker, and how many of the workers after that it waits for.
        announced: per worker, whether its first batch has ended.
        waiting: per worker, a slot that waits for that; -1: none.
        behind: per slot, another one that waits for the same worker; -1: none.
    """

    worker: Indices
    peers: Indices
    announced: list[bool]
    waiting: list[int]
    behind: list[int]


def go_on(
    waits: Waits, ended: list[int], batch: Indices, free: list[int], merging: list[int]
) -> None:
    """Say what slots do next whose batch has ended.

    Each announces its worker's first result. Where the batch has no peers the slot is `free`; where
    all of them have results it begins `merging`; else it waits for the first that has none.

    Args:
        waits: brought up to date.
        ended: the slots, in the order of their ends. Grows by those that they wake, whose turn is
            after them.
        batch: per slot, the batch after the one that has ended.
        free, merging: grow by the slots of either kind.
    """
    for slot in ended:
        done = batch[slot] - 1
        worker = waits.worker[done]
        if not waits.announced[worker]:
            waits.announced[worker] = True
            woken = waits.waiting[worker]
            while woken >= 0:
                ended.append(woken)
                woken = waits.behind[woken]
        peer, last = worker + 1, worker + waits.peers[done]
        while peer <= last and waits.announced[peer]:
            peer += 1
        if peer <= last:
            waits.behind[slot] = waits.waiting[peer]
            waits.waiting[peer] = slot
        elif waits.peers[done]:
            merging.append(slot)
        else:
            free.append(slot)
