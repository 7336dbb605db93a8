"""Time of a launch whose idle slots pull the next item: waves, and what is left at the end."""

from typing import NamedTuple

import numpy as np

from gpusim.analytic.estimate import Estimate
from gpusim.analytic.loops import Loops, drain, equal_loops
from gpusim.machine.placed import Placed
from gpusim.machine.placement import Placement
from gpusim.machine.saturation import memory_share, stretch
from gpusim.schedules.columns import Floats, Ints
from gpusim.schedules.work import remaining


def equal_waves(placement: Placement, chosen: Ints, memory_us: Floats) -> Estimate:
    """Equal items: full waves, then one with as many CTAs an SM as are left.

        T = full·(latency + loops of as many CTAs as run at once) + latency + loops of the rest

    Each item needs its share of the memory time; `equal_loops` says how long loops take. Of the
    launches of these numbers, as columns.
    """
    items = np.array([placement.launches[i].work.num_items for i in chosen])
    units = placement.units[placement.first[chosen]]
    lanes, latency_us = placement.lanes[chosen], placement.latency_us[chosen]
    pace, share_us = placement.pace(chosen), memory_us / items
    full, rest = np.divmod(items, lanes)
    waves = np.stack([full, rest > 0])
    both = equal_loops(pace, np.stack([lanes, rest]), units, share_us)
    loops = Loops(*(part[0] * waves[0] + part[1] * waves[1] for part in both))
    latent = (waves[0] + waves[1]) * latency_us
    return Estimate(
        time_us=latent + loops.time_us,
        loop_us=loops.time_us,
        full_us=loops.full_us,
        resident_us=loops.resident_us,
        full_resident_us=loops.full_resident_us,
        latency_us=items * latency_us,
        all_latent_us=latent,
        fix_up_us=np.zeros(len(chosen)),
        all_fix_up_us=np.zeros(len(chosen)),
    )


def one_wave(placed: Placed, memory_us: float) -> Estimate:
    """All items start at once: T = latency + last end of a loop · stretch(memory_us / that end)."""
    ends = drain(placed.pace, placed.units[placed.launch.work.order()])
    last, latency = float(ends.max()), placed.latency_us
    slower, full = stretch(memory_us / last), memory_share(memory_us / last)
    time, resident = last * slower, float(ends.sum()) * slower
    return Estimate(
        time_us=latency + time,
        loop_us=time,
        full_us=time * full,
        resident_us=resident,
        full_resident_us=resident * full,
        latency_us=len(ends) * latency,
        all_latent_us=latency,
        fix_up_us=0.0,
        all_fix_up_us=0.0,
    )


def unequal_waves(placed: Placed, memory_us: float) -> Estimate:
    """Unequal items in several waves; see `pulled`."""
    work, latency = placed.launch.work, placed.latency_us
    times = latency + placed.units / placed.rate(placed.residents)
    items = Pulled(
        times=times,
        alone=latency + placed.units / placed.rate(1),
        after=remaining(work, times) / work.total(times),
        before=work.num_items - remaining(work, np.ones(len(times))),
        number=work.num_items,
        total_us=work.total(times),
        latency_us=work.num_items * latency,
    )
    return pulled(placed, items, memory_us)


class Pulled(NamedTuple):
    """What idle slots pull, items or workers: columns with an entry for each distinct one.

    Attributes:
        times: of each among as many on its SM as the fullest has; `alone`: with an SM to itself.
        after: work from it (included) to the end of the order, as a share of all.
        before: how many come before it.
        number, total_us, latency_us: how many there are, time of all, and what of it is latency.
    """

    times: Floats
    alone: Floats
    after: Floats
    before: Floats
    number: int
    total_us: float
    latency_us: float


def pulled(placed: Placed, items: Pulled, memory_us: float) -> Estimate:
    """Unequal items in several waves: throughput, and those that start too late to end in it.

    They start in order, at the pace of the whole launch. When one starts, those before it are on
    average half done on the other slots; and none starts before those of the waves before it can
    have ended. With `after` the work from one to the end of the order, as a share of all,

        busy       = time of all / lanes
        throughput = latency + (busy - latency)·stretch(memory_us / (busy - latency))
        start      = max(throughput·(1 - after) - half the mean time of one,
                         whole waves before it · shortest)
        T          = max(throughput, max over all (start + time alone))
    """
    lanes, latency = placed.lanes, placed.latency_us
    busy = items.total_us / lanes
    load = memory_us / (busy - latency)
    throughput = latency + (busy - latency) * stretch(load)
    start = np.maximum(
        throughput * (1 - items.after - lanes / items.number / 2),
        items.before // lanes * items.times.min(),
    )
    time = max(throughput, float((start + items.alone).max()))
    full = memory_share(load)
    resident = throughput * lanes - items.latency_us
    return Estimate(
        time_us=time,
        loop_us=time,
        full_us=time * full,
        resident_us=resident,
        full_resident_us=resident * full,
        latency_us=items.latency_us,
        all_latent_us=latency,
        fix_up_us=0.0,
        all_fix_up_us=0.0,
    )
