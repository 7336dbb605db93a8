"""Time of a launch whose idle slots pull the next item: waves, and what is left at the end."""

import numpy as np

from gpusim.analytic.estimate import Estimate
from gpusim.analytic.loops import Loops, drain, equal_loops
from gpusim.machine.place import Placed
from gpusim.machine.saturation import memory_share, stretch
from gpusim.schedules.work import remaining


def equal_waves(placed: Placed, memory_us: float, level: str) -> Estimate:
    """Equal items: full waves, then one with as many CTAs an SM as are left.

        T = full·(latency + loops of as many CTAs as run at once) + latency + loops of the rest

    Each item needs its share of the memory time; `equal_loops` says how long loops take.
    """
    units, items = float(placed.units[0]), placed.launch.work.num_items
    full, rest = divmod(items, placed.lanes)
    loops, latency = Loops(0.0, 0.0, 0.0, 0.0), placed.latency_us
    for waves, ctas in ((full, placed.lanes), (1, rest)):
        if ctas:
            loops += equal_loops(placed, ctas, units, memory_us / items) * waves
    latent = (full + bool(rest)) * latency
    return Estimate(
        time_us=latent + loops.time_us,
        loops=loops,
        level=level,
        latency_us=items * latency,
        all_latent_us=latent,
    )


def one_wave(placed: Placed, memory_us: float, level: str) -> Estimate:
    """All items start at once: T = latency + last end of a loop · stretch(memory_us / that end)."""
    ends = drain(placed, placed.units[placed.launch.work.order()])
    last, latency = float(ends.max()), placed.latency_us
    slower, full = stretch(memory_us / last), memory_share(memory_us / last)
    time, resident = last * slower, float(ends.sum()) * slower
    return Estimate(
        time_us=latency + time,
        loops=Loops(time, time * full, resident, resident * full),
        level=level,
        latency_us=len(ends) * latency,
        all_latent_us=latency,
    )


def unequal_waves(placed: Placed, memory_us: float, level: str) -> Estimate:
    """Unequal items in several waves: throughput, and the items that start too late to end in it.

    Items start in order, at the pace of the whole launch. When one starts, the items before it are
    on average half done on the other slots; and no item starts before those of the waves before it
    can have ended. With `after` the work from an item to the end of the order, as a share of all,

        busy       = (Σ u / rate(k) + n·latency) / lanes
        throughput = latency + (busy - latency)·stretch(memory_us / (busy - latency))
        start      = max(throughput·(1 - after) - half an item's mean time,
                         whole waves before it · shortest item)
        T          = max(throughput, max over items (start + latency + u/rate(1)))
    """
    work, lanes, latency = placed.launch.work, placed.lanes, placed.latency_us
    times = latency + placed.units / placed.rate(placed.residents)
    busy = work.total(times) / lanes
    load = memory_us / (busy - latency)
    throughput = latency + (busy - latency) * stretch(load)
    after = remaining(work, times) / work.total(times)
    before = work.num_items - remaining(work, np.ones(len(times)))
    start = np.maximum(
        throughput * (1 - after - lanes / work.num_items / 2),
        before // lanes * times.min(),
    )
    time = max(throughput, float((start + latency + placed.units / placed.rate(1)).max()))
    latencies, full = work.num_items * latency, memory_share(load)
    resident = throughput * lanes - latencies
    return Estimate(
        time_us=time,
        loops=Loops(time, time * full, resident, resident * full),
        level=level,
        latency_us=latencies,
        all_latent_us=latency,
    )
