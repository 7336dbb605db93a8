"""SM clock under continuous tensor load, from a GPU at rest but awake until the power limit acts.

Every launch (about 1 ms of wgmma, or of mma.sync without it, on all SMs, random operands) counts
its own clocks and ns. An attention kernel keeps the tensor cores less busy, and so may run at a
higher clock where the limit acts. While the last launches wait, `nvidia-smi` is asked once, as a
check.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpusim.spec.gpu import Gpu
from gpusim.units import NS_PER_US, US_PER_S
from validation.microbench.benchmark import Benchmark, Reading
from validation.microbench.stamps import CLOCKS, FIRST_NS, Stamps, clock_mhz
from validation.microbench.tensor import CTAS_PER_SM, matrix_work

LOAD_S, QUICK_LOAD_S, LOAD_TYPE = 5.0, 2.0, "bf16"
#: Before the load, one CTA keeps the GPU awake for so many launches of the same length.
REST_LAUNCHES = 1000
#: Launches of a window (about 20 ms), and how long the clock may take to rise after the rest.
WINDOW, RISE_S = 20, 0.5
#: A steady clock from this share of the first one on counts as not limited.
UNLIMITED = 0.98

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """What the load did to the clock; no delay where no limit was seen."""

    benchmark_mhz: float
    steady_mhz: float
    power_limit_delay_s: float | None


def clocks(seconds: Floats, mhz: Floats) -> Clocks:
    """From the clock of each launch and when it started, from the first one on.

    The benchmark clock is the highest median of a window that starts within RISE_S; the steady
    clock is the median of the second half of the time. The limit acts from the first window whose
    median lies below the middle of both; the launch in that window's middle is the delay.
    """
    medians = np.median(np.lib.stride_tricks.sliding_window_view(mhz, WINDOW), axis=1)
    risen = seconds[: len(medians)] <= RISE_S
    best = int(np.argmax(np.where(risen, medians, 0.0)))
    benchmark = float(medians[best])
    steady = float(np.median(mhz[seconds >= seconds[-1] / 2]))
    if steady >= UNLIMITED * benchmark:
        return Clocks(benchmark_mhz=benchmark, steady_mhz=steady, power_limit_delay_s=None)
    below = np.flatnonzero(medians[best:] < (benchmark + steady) / 2)
    limited = best + int(below[0]) + WINDOW // 2
    return Clocks(
        benchmark_mhz=benchmark,
        steady_mhz=steady,
        power_limit_delay_s=float(seconds[limited]),
    )


def readings(launches: Sequence[Stamps], asked: str) -> list[Reading]:
    """From the stamps of all launches, and what nvidia-smi said."""
    starts = np.array([stamps[:, FIRST_NS].min() for stamps in launches], dtype=np.float64)
    mhz = np.array([clock_mhz(stamps) for stamps in launches])
    seconds = (starts - starts[0]) / (NS_PER_US * US_PER_S)
    found = clocks(seconds, mhz)
    how = f"{len(launches)} launches in {seconds[-1]:.1f} s; nvidia-smi at the end: {asked}"
    rows = [
        Reading(name="clock.benchmark_mhz", value=found.benchmark_mhz, how=how),
        Reading(name="clock.steady_mhz", value=found.steady_mhz, how=how),
    ]
    if found.power_limit_delay_s is None:
        return rows
    delay = found.power_limit_delay_s
    return [*rows, Reading(name="clock.power_limit_delay_s", value=delay, how=how)]


def measure(gpu: Gpu, quick: bool) -> list[Reading]:
    """Rest, load, and ask nvidia-smi while the last launches are still queued."""
    import torch

    from validation.device import smi

    work = matrix_work(gpu, path(gpu), LOAD_TYPE)
    count = launches_in(gpu, quick)
    stamps = torch.zeros(count, gpu.sm.count * CTAS_PER_SM, 5, dtype=torch.int64, device="cuda")
    for _ in range(REST_LAUNCHES):
        work.launch(stamps[0, :1])
    for one in stamps:
        work.launch(one)
    asked = smi("clocks.sm,power.draw")
    return readings(list(stamps.cpu().numpy()), asked)


def path(gpu: Gpu) -> str:
    """The faster instruction path, which is the greater load."""
    return "wgmma" if gpu.tensor.wgmma_flop_per_clock else "mma_sync"


def launches_in(gpu: Gpu, quick: bool) -> int:
    """Launches of CLOCKS each that fill the time."""
    seconds = QUICK_LOAD_S if quick else LOAD_S
    return round(seconds * gpu.clock.benchmark_mhz * US_PER_S / CLOCKS)


CLOCK = Benchmark(
    name="clock",
    fields=lambda _: ("clock.benchmark_mhz", "clock.steady_mhz", "clock.power_limit_delay_s"),
    plan=lambda gpu, quick: (
        f"{launches_in(gpu, quick)} launches of {LOAD_TYPE} {path(gpu).replace('_', '.')}, about "
        f"{QUICK_LOAD_S if quick else LOAD_S:.0f} s"
    ),
    measure=measure,
)
