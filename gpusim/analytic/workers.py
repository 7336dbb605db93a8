"""Time of a launch whose workers have items of their own, and may wait for one another."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gpusim.analytic.estimate import Estimate
from gpusim.analytic.loops import Loops, drain, equal_loops
from gpusim.analytic.waves import Pulled, pulled
from gpusim.errors import SpecError
from gpusim.machine.placed import Placed
from gpusim.schedules.columns import Floats, Ints


@dataclass(frozen=True, slots=True)
class _Workers:
    """Of each worker: items, their steps and time, end of the first, peers that it waits for.

    Where nobody waits, the end of the first is that of all.
    """

    items: Ints
    units: Floats
    own: Floats
    done: Floats
    peers: Ints

    def ready(self) -> Floats:
        """When the last of a worker's peers has its first result; 0 without peers."""
        ready = np.zeros(len(self.own))
        waiting = np.flatnonzero(self.peers)
        ranges = np.stack([waiting + 1, waiting + 1 + self.peers[waiting]], axis=1)
        if len(waiting):
            done = np.append(self.done, 0.0)  # so that a range may end at the last worker
            ready[waiting] = np.maximum.reduceat(done, ranges.ravel())[::2]
        return ready


def workers(placed: Placed, memory_us: float) -> Estimate:
    """Every worker does its own items; those that merge wait for their peers' first results.

        end of worker w = max(own items, first item of w + 1 ... w + peers) + peers·merge
        wave            = max(mean own items, latency + their share of the memory time)
        T               = waves but the last + max(last end, last wave + most peers·merge),
                          and no less than the end of the longest worker of any wave

    A worker that waits for a peer of the next wave keeps its slot: if that wave needs all slots,
    its last worker starts only when the peer has written. A wave that memory stretches stretches
    the loops of all its workers. Unequal workers that wait for nobody are pulled as items are.

    Raises:
        SpecError: if such a worker leaves no slot for the peer.
    """
    each, lanes, latency = _per_worker(placed), placed.lanes, placed.latency_us
    if placed.launch.work.peers is None and len(each.own) > lanes and np.ptp(each.own):
        return pulled(placed, _pulled(placed, each), memory_us)
    own, ready, merges = each.own, each.ready(), each.peers * placed.merge_us
    starts = np.arange(0, len(own), lanes)
    size = np.minimum(lanes, len(own) - starts)
    average, most = np.add.reduceat(own, starts) / size, np.maximum.reduceat(own, starts)
    loops = equal_loops(placed.pace, size, float(each.units.mean()), memory_us / len(own))
    wave = np.maximum(average, latency + loops.time_us)
    stretch = wave / average
    for index, peer in _late_peers(placed, each, starts):
        if size[index] == lanes:
            last = own[starts[index] + lanes - 1]
            wave[index] = max(wave[index], peer * stretch[index] + last)
    begin, longest = np.cumsum(wave) - wave, np.maximum(wave, most)
    # the end of the last wave in place of its average
    final = slice(int(starts[-1]), None)
    ends = np.maximum(own, ready)[final] + merges[final]
    late = max(0.0, float(ends.max() - wave[-1]), float(merges.max()))
    time = max(float((begin + most).max()), float(begin[-1] + wave[-1]) + late)
    resident, full = _in_loops(placed, each, starts, loops, longest)
    waits = np.maximum(ready - own, 0.0) * np.repeat(stretch, size)
    lockstep = np.ptp(placed.units) == 0
    return Estimate(
        time_us=time,
        loop_us=float(np.sum(loops.time_us)),
        full_us=float(np.sum(loops.full_us)),
        resident_us=resident,
        full_resident_us=full,
        latency_us=latency * float(each.items.sum()),
        all_latent_us=latency * len(size) * (float(each.items.max()) if lockstep else 1),
        fix_up_us=float((waits + merges).sum()),
        all_fix_up_us=max(0.0, time - float(begin[-1] + longest[-1])),
    )


def _pulled(placed: Placed, each: _Workers) -> Pulled:
    """Workers as slots pull them, one after another."""
    latencies = placed.latency_us * each.items
    return Pulled(
        times=each.own,
        alone=latencies + each.units / placed.rate(1),
        after=each.own[::-1].cumsum()[::-1] / each.own.sum(),
        before=np.arange(len(each.own), dtype=np.float64),
        number=len(each.own),
        total_us=float(each.own.sum()),
        latency_us=float(latencies.sum()),
    )


def _in_loops(
    placed: Placed, each: _Workers, starts: Ints, loops: Loops, longest: Floats
) -> tuple[float, float]:
    """Time of all workers in their loops, and what of it memory answers for.

    `loops` are those of each wave if its workers were alike; `longest` is its longest worker.
    """
    size = np.diff(starts, append=len(each.own))
    mean = float(each.units.mean())
    latencies = placed.latency_us * each.items
    slowed, full = np.ones(len(size)), np.zeros(len(size))
    if mean:
        alone = equal_loops(placed.pace, size, mean, 0.0)
        slowed = loops.resident_us / alone.resident_us
        full = loops.full_resident_us / loops.resident_us
    spent = np.minimum(
        (each.own - latencies) * np.repeat(slowed, size), np.repeat(longest, size) - latencies
    )
    resident = np.add.reduceat(spent, starts)
    return float(resident.sum()), float((resident * full).sum())


def _late_peers(placed: Placed, each: _Workers, starts: Ints) -> Iterator[tuple[int, float]]:
    """Waves that hold peers of the wave before, with the end of the last such peer's first item.

    Raises:
        SpecError: if one CTA runs at a time.
    """
    reach = np.maximum.accumulate(np.arange(len(each.own)) + each.peers)
    for index in (np.flatnonzero(reach[starts[1:] - 1] >= starts[1:]) + 1).tolist():
        if placed.lanes == 1:
            raise SpecError(
                f"{placed.launch.name}: expected room for more CTAs than 1: one that runs"
                " waits for one that has not started"
            )
        start = int(starts[index])
        yield index, float(each.done[start : reach[start - 1] + 1].max())


def _per_worker(placed: Placed) -> _Workers:
    work, lists = placed.launch.work, placed.launch.work.lists
    assert lists is not None  # the caller looked
    items, units = lists.sizes[lists.kind], lists.totals(placed.units)
    if len(items) <= placed.lanes:
        own = drain(placed.pace, units)
    else:
        own = units / placed.rate(placed.residents)
    pace = own / np.where(units > 0, units, 1.0)
    own += placed.latency_us * items
    if work.peers is None:
        return _Workers(items, units, own, own, np.zeros_like(items))
    first = lists.firsts(placed.units)
    return _Workers(items, units, own, placed.latency_us + first * pace, lists.most(work.peers))
