"""Predicts the launches of a call in closed form: the greatest bound, plus what is serial."""

import math

import numpy as np

from gpusim.analytic.bounds import hbm_bound, l2_bound
from gpusim.analytic.workers import drain, workers_time
from gpusim.machine.account import Timing, launch_result, total_result
from gpusim.machine.place import Placed, place
from gpusim.result import Result
from gpusim.schedules.launch import Launch, footprint
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
    return total_result(
        attention,
        gpu,
        results,
        footprint_bytes=footprint(launches),
        names=names,
        engine="analytic",
    )


def _timing(placed: Placed) -> Timing:
    memory = {"hbm": hbm_bound(placed), "l2": l2_bound(placed)}
    level = max(memory, key=lambda name: memory[name])
    work = placed.launch.work
    if work.owner is not None:
        compute, floor = workers_time(placed, 0.0), workers_time(placed, memory[level])
    elif np.ptp(placed.units) == 0:
        compute, floor = _waves(placed, 0.0), _waves(placed, memory[level])
    elif work.num_items <= placed.lanes:
        compute, floor = _one_wave(placed), memory[level] + placed.latency_us
    else:
        compute, floor = _many_waves(placed, 0.0), _many_waves(placed, memory[level])
    return _account(placed, max(compute, floor), level if floor > compute else "step")


def _waves(placed: Placed, memory_us: float) -> float:
    """Equal items: full waves, then one with as many CTAs an SM as are left.

    With k CTAs an SM in full waves, n items, and m = memory_us / n, an item's share of memory time:

        T = full·(latency + max(u/rate(k), lanes·m))
            + latency + max(u/rate(ceil(rest/SMs)), rest·m)
    """
    units, items = float(placed.units[0]), placed.launch.work.num_items
    full, rest = divmod(items, placed.lanes)
    share = memory_us / items
    pace = max(units / placed.rate(placed.residents), placed.lanes * share)
    time = full * (placed.latency_us + pace)
    if rest:
        last = max(units / placed.rate(math.ceil(rest / placed.num_sms)), rest * share)
        time += placed.latency_us + last
    return time


def _one_wave(placed: Placed) -> float:
    """All items start at once: T = latency + the end of the last loop to drain."""
    items = placed.units[placed.launch.work.order()]
    return placed.latency_us + float(drain(placed, items).max())


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
        limited_us={winner: time - min(time, placed.latency_us)},
        resident_us=(latency + loop) * total,
        sm_busy_us=min(placed.lanes, placed.num_sms) * time * (1 - tail),
    )
