"""Time of a launch whose workers have items of their own, and may wait for one another."""

import numpy as np

from gpusim.errors import SpecError
from gpusim.machine.place import Placed
from gpusim.schedules.work import Floats, Ints
from gpusim.units import ceil_div


def workers_time(placed: Placed, memory_us: float) -> float:
    """Every worker does its own items; those that merge wait for their peers' first results.

        end of worker w = max(own items, first item of w + 1 ... w + peers) + peers·merge
        wave            = max(mean own items, latency + their share of the memory time)
        T               = waves but the last + max(last end, last wave + most peers·merge)

    A worker that waits for a peer of the next wave keeps its slot: if that wave needs all slots,
    its last worker starts only when the peer has written.

    Raises:
        SpecError: if such a worker leaves no slot for the peer.
    """
    workers, lanes = placed.launch.num_ctas, placed.lanes
    units, own, done, peers = _per_worker(placed)
    end, reach = own.copy(), np.maximum.accumulate(np.arange(workers) + peers)
    for worker in np.flatnonzero(peers):
        ready = done[worker + 1 : worker + 1 + peers[worker]].max()
        end[worker] = max(own[worker], ready) + peers[worker] * placed.merge_us
    time, mean = 0.0, float(units.mean())
    for start in range(0, workers, lanes):
        stop = min(start + lanes, workers)
        average = float(own[start:stop].mean())
        share = _shared_wave(placed, stop - start, mean, memory_us / workers)
        wave = max(average, placed.latency_us + share)
        if start and reach[start - 1] >= start:
            if lanes == 1:
                raise SpecError(
                    f"{placed.launch.name}: expected room for more CTAs than 1: one that runs"
                    " waits for one that has not started"
                )
            if stop - start == lanes:
                ready = done[start : reach[start - 1] + 1].max() * wave / average
                wave = max(wave, float(ready + own[stop - 1]))
        time += wave
    # the end of the last wave in place of its average
    return time + max(0.0, float(end[start:].max()) - wave, float(peers.max()) * placed.merge_us)


def _per_worker(placed: Placed) -> tuple[Floats, Floats, Floats, Ints]:
    """Of each worker: steps, time of its items, time of the first, peers that it waits for."""
    work, workers = placed.launch.work, placed.launch.num_ctas
    assert work.owner is not None  # the caller looked
    order = work.order()
    units = np.bincount(work.owner, weights=placed.units[order], minlength=workers).astype(float)
    own = drain(placed, units) if workers <= placed.lanes else units / placed.rate(placed.residents)
    pace = own / np.where(units > 0, units, 1.0)
    own += placed.latency_us * np.bincount(work.owner, minlength=workers)
    first = placed.units[order[np.unique(work.owner, return_index=True)[1]]]
    peers = np.zeros(workers, dtype=np.int64)
    if work.peers is not None:
        np.maximum.at(peers, work.owner, work.peers[order])
    return units, own, placed.latency_us + first * pace, peers


def drain(placed: Placed, units: Floats) -> Floats:
    """When each CTA is done with its loop if all start at once, CTA j on SM j mod SMs.

    An SM with loops u1 >= u2 >= ... runs n of them until the shortest ends, then n - 1, and so on:
    the n-th longest ends after Σ over i >= n of (u_i - u_(i+1)) / rate(i).
    """
    rows = ceil_div(len(units), placed.num_sms)
    padded = np.zeros(rows * placed.num_sms)
    padded[: len(units)] = units
    per_sm = padded.reshape(rows, placed.num_sms)
    rank = np.argsort(-per_sm, axis=0, kind="stable")
    ordered = np.take_along_axis(per_sm, rank, axis=0)
    steps = ordered - np.vstack([ordered[1:], np.zeros(placed.num_sms)])
    paces = np.array([[1 / placed.rate(n)] for n in range(1, rows + 1)])
    ends = np.empty_like(per_sm)
    np.put_along_axis(ends, rank, (steps * paces)[::-1].cumsum(axis=0)[::-1], axis=0)
    return ends.ravel()[: len(units)]


def _shared_wave(placed: Placed, ctas: int, units: float, share_us: float) -> float:
    """Loops of equal CTAs that start at once, each of which needs memory for so long by itself.

    With k CTAs on the fullest SMs and k - 1 on the others: first all run, those with more room
    faster, then the crowded ones alone. Memory slows down whoever asks for more than it gives.
    """
    k = ceil_div(ctas, placed.num_sms)
    crowded = (ctas - (k - 1) * placed.num_sms) * k
    slow, fast = placed.rate(k), placed.rate(max(1, k - 1))
    if not units:
        return ctas * share_us
    demand = share_us / units
    load = demand * (crowded * slow + (ctas - crowded) * fast)
    if crowded == ctas:
        return units / slow * max(1.0, load)
    left = units * (1 - slow / fast)
    return units / fast * max(1.0, load) + left / slow * max(1.0, demand * crowded * slow)
