"""Predicts the launches of a call in closed form: the greatest bound, plus what is serial."""

import math

import numpy as np

from gpusim.analytic.bounds import hbm_bound, l2_bound
from gpusim.machine.account import Timing, launch_result, total_result
from gpusim.machine.place import Placed, place
from gpusim.result import Result
from gpusim.schedules.launch import Launch
from gpusim.schedules.work import remaining
from gpusim.spec.attention import Attention
from gpusim.spec.gpu import Gpu


def predict_launches(
    attention: Attention,
    gpu: Gpu,
    launches: tuple[Launch, ...],
    *,
    names: tuple[str, str],
    l2: str = "cold",
    load: str | float = "steady",
) -> Result:
    """Predict the launches one after another; arguments as `gpusim.sim.engine.simulate_launches`.

    Raises:
        SpecError: if a launch does not fit on the GPU.
    """
    results = tuple(
        launch_result(placed, _timing(placed), gpu)
        for placed in place(launches, gpu, load=load, warm=l2 == "warm")
    )
    return total_result(attention, gpu, results, names=names, engine="analytic")


def _timing(placed: Placed) -> Timing:
    memory = {"hbm": hbm_bound(placed), "l2": l2_bound(placed)}
    level = max(memory, key=lambda name: memory[name])
    work = placed.launch.work
    if work.owner is not None:
        compute, floor = _owned(placed), memory[level] + placed.latency_us
    elif len(placed.units) == 1:
        waves = math.ceil(work.num_items / placed.lanes)
        compute, floor = _waves(placed), memory[level] + waves * placed.latency_us
    elif work.num_items <= placed.lanes:
        compute, floor = _one_wave(placed), memory[level] + placed.latency_us
    else:
        compute, floor = _many_waves(placed, 0.0), _many_waves(placed, memory[level])
    return _account(placed, max(compute, floor), level if floor > compute else "step")


def _owned(placed: Placed) -> float:
    """Every worker does its own items; those that merge wait for their peers' first results.

    end of worker w = max(own items, first item of w + 1 ... w + peers) + peers·merge
    T = the last end, or, with more workers than run at once, at least their mean share
    """
    work = placed.launch.work
    assert work.owner is not None  # the caller looked
    order = work.order()
    times = placed.latency_us + placed.units[order] / placed.rate(placed.residents)
    workers = placed.launch.num_ctas
    own = np.bincount(work.owner, weights=times, minlength=workers)
    last = own.copy()
    if work.peers is not None:
        peers = np.zeros(workers, dtype=np.int64)
        np.maximum.at(peers, work.owner, work.peers[order])
        first = times[np.unique(work.owner, return_index=True)[1]]
        for worker in np.flatnonzero(peers):
            ready = first[worker + 1 : worker + 1 + peers[worker]].max()
            last[worker] = max(own[worker], ready) + peers[worker] * placed.merge_us
    rounds = math.ceil(workers / placed.lanes)
    return float(max(last.max() * rounds if rounds > 1 else last.max(), own.sum() / placed.lanes))


def _waves(placed: Placed) -> float:
    """Equal items: full waves, then one with as many CTAs an SM as are left.

    T = full·(latency + u/rate(k)) + [latency + u/rate(ceil(rest/SMs))]
    """
    units = float(placed.units[0])
    full, rest = divmod(placed.launch.work.num_items, placed.lanes)
    time = full * (placed.latency_us + units / placed.rate(placed.residents))
    if rest:
        time += placed.latency_us + units / placed.rate(math.ceil(rest / placed.num_sms))
    return time


def _one_wave(placed: Placed) -> float:
    """All items start at once, item j on SM j mod SMs; the fullest SM decides.

    An SM with items u1 >= u2 >= ... runs n of them until the shortest ends, then n - 1, and so on:
    T = latency + Σ (u_n - u_(n+1)) / rate(n).
    """
    items = placed.units[placed.launch.work.order()]
    rows = math.ceil(len(items) / placed.num_sms)
    padded = np.zeros(rows * placed.num_sms)
    padded[: len(items)] = items
    per_sm = -np.sort(-padded.reshape(rows, placed.num_sms), axis=0)
    steps = per_sm - np.vstack([per_sm[1:], np.zeros(placed.num_sms)])
    paces = np.array([1 / placed.rate(n) for n in range(1, rows + 1)])
    return placed.latency_us + float((paces @ steps).max())


def _many_waves(placed: Placed, memory_us: float) -> float:
    """Unequal items in several waves: throughput, and the items that start too late to end in it.

    Items start in order, at the pace of the whole launch. When one starts, the items before it are
    on average half done on the other slots; and no item starts before those of the waves before it
    can have ended. With `after` the work from an item to the end of the order, as a share of all,

        throughput = max((Σ u / rate(k) + n·latency) / lanes, memory_us)
        start      = max(throughput·(1 - after) - half an item's mean time,
                         whole waves before it · shortest item)
        T          = max(throughput, max over items (start + latency + u/rate(1)))
    """
    work, lanes = placed.launch.work, placed.lanes
    times = placed.latency_us + placed.units / placed.rate(placed.residents)
    busy = work.total(times) / lanes
    throughput = max(busy, memory_us + placed.latency_us if memory_us else 0.0)
    after = remaining(work, times) / work.total(times)
    before = work.num_items - remaining(work, np.ones(len(times)))
    start = np.maximum(
        throughput * (1 - after - lanes / work.num_items / 2),
        before // lanes * times.min(),
    )
    return max(throughput, float((start + placed.latency_us + placed.units / placed.rate(1)).max()))


def _account(placed: Placed, time: float, winner: str) -> Timing:
    """Shares of the slots' time by cause, and residence, for a launch that takes `time`."""
    work = placed.launch.work
    total = time * placed.slots
    unfilled = 1 - placed.lanes / placed.slots
    latency = min(1 - unfilled, work.num_items * placed.latency_us / total)
    room = 1 - unfilled - latency
    pace = work.total(placed.units) / placed.rate(placed.residents) / total
    loop = min(room, pace) if winner == "step" else room
    tail = room - loop
    return Timing(
        time_us=time,
        shares={"cta_latency": latency, winner: loop, "unfilled": unfilled, "tail": tail},
        resident_us=(latency + loop) * total,
        sm_busy_us=min(placed.lanes, placed.num_sms) * time * (1 - tail),
    )
