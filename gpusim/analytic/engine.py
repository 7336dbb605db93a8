"""Predicts launches in closed form, many calls at once: the greatest bound, plus what is serial."""

from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np

from gpusim.analytic.estimate import Estimate, timings
from gpusim.analytic.waves import equal_waves, one_wave, unequal_waves
from gpusim.analytic.workers import workers
from gpusim.launch_result import LaunchResult
from gpusim.machine.account import Timings, launch_results, total_result
from gpusim.machine.place import place_calls
from gpusim.machine.placement import Placement
from gpusim.result import Result
from gpusim.schedules.launch import Launches, footprint
from gpusim.spec.attention import Attention
from gpusim.spec.gpu import Gpu


class Problem(NamedTuple):
    """A call: its launches, what they compute, and the names of workload and schedule."""

    attention: Attention
    launches: Launches
    names: tuple[str, str]


def predict_launches(
    attention: Attention,
    gpu: Gpu,
    launches: Launches,
    *,
    names: tuple[str, str],
    l2: str = "cold",
    load: str | float = "steady",
) -> Result:
    """Predict the launches one after another; arguments as `gpusim.sim.engine.simulate_launches`.

    Raises:
        SpecError: if a launch does not fit on the GPU.
    """
    problem = Problem(attention, launches, names)
    return predict_problems((problem,), gpu, l2=l2, load=load)[0]


def predict_problems(
    problems: Sequence[Problem], gpu: Gpu, *, l2: str = "cold", load: str | float = "steady"
) -> list[Result]:
    """Predict calls that have nothing to do with one another, as columns.

    Each result is what its call by itself gives, to the last digit.

    Raises:
        SpecError: if a launch does not fit on the GPU.
    """
    found = predict_calls(gpu, [problem.launches for problem in problems], l2=l2, load=load)
    return [
        total_result(
            problem.attention,
            gpu,
            launches,
            footprint_bytes=footprint(problem.launches),
            names=problem.names,
            engine="analytic",
        )
        for problem, launches in zip(problems, found, strict=True)
    ]


def predict_calls(
    gpu: Gpu, calls: Sequence[Launches], *, l2: str = "cold", load: str | float = "steady"
) -> list[tuple[LaunchResult, ...]]:
    """The launches of such calls, each by itself; errors as `predict_problems`."""
    if not calls:
        return []
    placement = place_calls(calls, gpu, load=load, warm=l2 == "warm")
    found = iter(launch_results(placement, predict_timings(placement)))
    return [tuple(islice(found, len(call))) for call in calls]


def predict_timings(placement: Placement) -> Timings:
    """Time of placed launches, and what it goes to."""
    hbm_us, l2_us = placement.hbm_us, placement.l2_us
    memory_us = np.maximum(hbm_us, l2_us)
    first, units = placement.first[:-1], placement.units
    equal = np.minimum.reduceat(units, first) == np.maximum.reduceat(units, first)
    equal &= np.array([launch.work.lists is None for launch in placement.launches])
    found = np.empty((len(equal), len(Estimate._fields)))
    chosen = np.flatnonzero(equal)
    if len(chosen):
        found[chosen] = np.stack(equal_waves(placement, chosen, memory_us[chosen]), axis=1)
    for index in np.flatnonzero(~equal).tolist():
        placed = placement.one(index)
        if placed.launch.work.lists is not None:
            model = workers
        elif placed.launch.work.num_items <= placed.lanes:
            model = one_wave
        else:
            model = unequal_waves
        found[index] = model(placed, float(memory_us[index]))
    return timings(found.T, placement, hbm_us >= l2_us)
