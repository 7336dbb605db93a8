"""Time of a launch whose workers have items of their own, and may wait for one another."""

from dataclasses import dataclass

import numpy as np

from gpusim.analytic.estimate import Estimate
from gpusim.analytic.loops import Loops, drain, equal_loops
from gpusim.errors import SpecError
from gpusim.machine.place import Placed
from gpusim.schedules.work import Floats, Ints
from gpusim.units import ceil_div


def workers(placed: Placed, memory_us: float, level: str) -> Estimate:
    """Every worker does its own items; those that merge wait for their peers' first results.

        end of worker w = max(own items, first item of w + 1 ... w + peers) + peers·merge
        wave            = max(mean own items, latency + their share of the memory time)
        T               = waves but the last + max(last end, last wave + most peers·merge),
                          and no less than the end of the longest worker of any wave

    A worker that waits for a peer of the next wave keeps its slot: if that wave needs all slots,
    its last worker starts only when the peer has written. A wave that memory stretches stretches
    the loops of all its workers.

    Raises:
        SpecError: if such a worker leaves no slot for the peer.
    """
    lists = _per_worker(placed)
    count, lanes, latency = placed.launch.num_ctas, placed.lanes, placed.latency_us
    reach = np.maximum.accumulate(np.arange(count) + lists.peers)
    ready, merges = lists.ready(), lists.peers * placed.merge_us
    mean = float(lists.units.mean())
    time, latest, fix_up, loops = 0.0, 0.0, 0.0, Loops(0.0, 0.0, 0.0, 0.0)
    for start in range(0, count, lanes):
        stop = min(start + lanes, count)
        own, wait = lists.own[start:stop], ready[start:stop] - lists.own[start:stop]
        average = float(own.mean())
        equal = equal_loops(placed, stop - start, mean, memory_us / count)
        wave = max(average, latency + equal.time_us)
        stretch = wave / average
        if start and reach[start - 1] >= start:
            if lanes == 1:
                raise SpecError(
                    f"{placed.launch.name}: expected room for more CTAs than 1: one that runs"
                    " waits for one that has not started"
                )
            if stop - start == lanes:
                peer = lists.done[start : reach[start - 1] + 1].max() * stretch
                wave = max(wave, float(peer + own[-1]))
        longest = max(wave, float(own.max()))
        alone = equal_loops(placed, stop - start, mean, 0.0)
        slowed = equal.resident_us / alone.resident_us if mean else 1.0
        latencies = latency * lists.items[start:stop]
        resident = float(np.minimum((own - latencies) * slowed, longest - latencies).sum())
        full = equal.full_resident_us / equal.resident_us if mean else 0.0
        loops += Loops(equal.time_us, equal.full_us, resident, resident * full)
        fix_up += float((np.maximum(wait, 0.0) * stretch + merges[start:stop]).sum())
        latest = max(latest, time + float(own.max()))
        before, time = time, time + wave
    # the end of the last wave in place of its average
    ends = np.maximum(own, ready[start:stop]) + merges[start:stop]
    time = max(latest, time + max(0.0, float(ends.max()) - wave, float(merges.max())))
    waves, lockstep = ceil_div(count, lanes), np.ptp(placed.units) == 0
    return Estimate(
        time_us=time,
        loops=loops,
        level=level,
        latency_us=latency * float(lists.items.sum()),
        fix_up_us=fix_up,
        all_latent_us=latency * waves * (float(lists.items.max()) if lockstep else 1),
        all_fix_up_us=max(0.0, time - before - longest),
    )


@dataclass(frozen=True, slots=True)
class _Lists:
    """Of each worker: items, their steps and time, end of the first, peers that it waits for."""

    items: Ints
    units: Floats
    own: Floats
    done: Floats
    peers: Ints

    def ready(self) -> Floats:
        """When the last of a worker's peers has its first result; 0 without peers."""
        ready = np.zeros(len(self.own))
        for worker in np.flatnonzero(self.peers):
            ready[worker] = self.done[worker + 1 : worker + 1 + self.peers[worker]].max()
        return ready


def _per_worker(placed: Placed) -> _Lists:
    work, count = placed.launch.work, placed.launch.num_ctas
    assert work.owner is not None  # the caller looked
    order = work.order()
    items = np.bincount(work.owner, minlength=count)
    units = np.bincount(work.owner, weights=placed.units[order], minlength=count).astype(float)
    own = drain(placed, units) if count <= placed.lanes else units / placed.rate(placed.residents)
    pace = own / np.where(units > 0, units, 1.0)
    own += placed.latency_us * items
    begin = np.empty(count, dtype=np.int64)
    begin[work.owner[::-1]] = np.arange(len(order) - 1, -1, -1)  # the earliest is written last
    first = placed.units[order[begin]]
    peers = np.zeros(count, dtype=np.int64)
    if work.peers is not None:
        np.maximum.at(peers, work.owner, work.peers[order])
    return _Lists(items, units, own, placed.latency_us + first * pace, peers)
