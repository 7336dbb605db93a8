"""Predicts the launches of a call in closed form: the greatest bound, plus what is serial."""

import numpy as np

from gpusim.analytic.bounds import hbm_bound, l2_bound
from gpusim.analytic.waves import equal_waves, one_wave, unequal_waves
from gpusim.analytic.workers import workers
from gpusim.launch_result import LaunchResult
from gpusim.machine.account import Timing, launch_result, total_result
from gpusim.machine.place import Placed, place
from gpusim.result import Result
from gpusim.schedules.launch import Launch, footprint
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
    return total_result(
        attention,
        gpu,
        launch_results(gpu, launches, l2=l2, load=load),
        footprint_bytes=footprint(launches),
        names=names,
        engine="analytic",
    )


def launch_results(
    gpu: Gpu, launches: tuple[Launch, ...], *, l2: str = "cold", load: str | float = "steady"
) -> tuple[LaunchResult, ...]:
    """Predict launches that follow one another, each by itself.

    Raises:
        SpecError: if a launch does not fit on the GPU.
    """
    return tuple(
        launch_result(placed, timing(placed), gpu)
        for placed in place(launches, gpu, load=load, warm=l2 == "warm")
    )


def timing(placed: Placed) -> Timing:
    """Time of a placed launch, and what it goes to."""
    memory = {"hbm": hbm_bound(placed), "l2": l2_bound(placed)}
    level = max(memory, key=lambda name: memory[name])
    work = placed.launch.work
    if work.owner is not None:
        model = workers
    elif np.ptp(placed.units) == 0:
        model = equal_waves
    elif work.num_items <= placed.lanes:
        model = one_wave
    else:
        model = unequal_waves
    return model(placed, memory[level], level).after(placed.ramp_us, placed.lanes).timing(placed)
