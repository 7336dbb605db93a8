"""Predicts the launches of a call in closed form: the greatest bound, plus what is serial."""

import math

import numpy as np

from gpusim.analytic.bounds import hbm_bound, l2_bound, span_bound
from gpusim.machine.account import Timing, launch_result, total_result
from gpusim.machine.place import Placed, place
from gpusim.result import Result
from gpusim.schedules.launch import Launch
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
    compute = compute_time(placed)
    memory = {"hbm": hbm_bound(placed), "l2": l2_bound(placed)}
    level = max(memory, key=lambda name: memory[name])
    serial = placed.latency_us * _lockstep_waves(placed)
    time = max(compute, memory[level] + serial)
    return Timing(time_us=time, **_causes(placed, time, level if time > compute else "step"))


def compute_time(placed: Placed) -> float:
    """Time if memory were infinitely fast, in us: `_waves`, `_one_wave` or `_many_waves`."""
    if len(placed.units) == 1:
        return _waves(placed)
    if placed.launch.work.num_items <= placed.slots:
        return _one_wave(placed)
    return _many_waves(placed)


def _lockstep_waves(placed: Placed) -> int:
    """Waves whose start latencies fall together: all of them if the items are equal, else the first."""
    equal = len(placed.units) == 1
    return math.ceil(placed.launch.work.num_items / placed.slots) if equal else 1


def _waves(placed: Placed) -> float:
    """Equal items: full waves, then one with as many CTAs an SM as are left.

    T = full·(latency + u/rate(k)) + [latency + u/rate(ceil(rest/SMs))]
    """
    units = float(placed.units[0])
    full, rest = divmod(placed.launch.work.num_items, placed.slots)
    time = full * (placed.latency_us + units / placed.rate(placed.occupancy.ctas_per_sm))
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


def _many_waves(placed: Placed) -> float:
    """Unequal items in several waves: throughput of full SMs, and half the longest item as the tail.

    T = (Σ u / rate(k) + n·latency) / slots + longest/2, and at least the longest alone. On A100 the
    form is as good as a list schedule on measured causal prefill (mean error 3.7 against 3.9 %).
    """
    k = placed.occupancy.ctas_per_sm
    work = placed.launch.work
    busy = work.total(placed.units) / placed.rate(k) + work.num_items * placed.latency_us
    longest = placed.latency_us + float(placed.units.max()) / placed.rate(k)
    return max(busy / placed.slots + longest / 2, span_bound(placed))


def _causes(placed: Placed, time: float, winner: str) -> dict[str, object]:
    """Shares of the slots' time by cause, and residence, for a launch that takes `time`."""
    work = placed.launch.work
    items, slots = work.num_items, placed.slots
    total = time * slots
    unfilled = max(0.0, 1 - items / slots)
    latency = min(1 - unfilled, items * placed.latency_us / total)
    residents = min(placed.occupancy.ctas_per_sm, math.ceil(items / placed.num_sms))
    room = 1 - unfilled - latency
    pace = work.total(placed.units) / placed.rate(residents) / total
    loop = min(room, pace) if winner == "step" else room
    tail = room - loop
    shares = {"cta_latency": latency, winner: loop, "unfilled": unfilled, "tail": tail}
    return {
        "shares": shares,
        "resident_us": (latency + loop) * total,
        "sm_busy_us": min(items, placed.num_sms) * time * (1 - tail),
    }
