"""Lower bounds on the time of a launch: no engine may be faster than any of them."""

from gpusim.machine.pipes import pipe_rate
from gpusim.machine.placed import Placed
from gpusim.schedules.step import Pipe
from gpusim.spec.gpu import Gpu


def pipe_bound(placed: Placed, gpu: Gpu, pipe: Pipe) -> float:
    """All of a pipe's work, spread evenly over all SMs, in us."""
    launch = placed.launch
    rate = pipe_rate(gpu, launch.step, pipe) * placed.clock * placed.num_sms
    return launch.amount(pipe) / rate


def span_bound(placed: Placed) -> float:
    """The longest work item with an SM to itself, in us."""
    return placed.latency_us + float(placed.units.max()) / placed.rate(1)


def bounds(placed: Placed, gpu: Gpu) -> dict[str, float]:
    """Every bound by name; of memory, all bytes at its bandwidth."""
    launch = placed.launch
    return {
        **{p.value: pipe_bound(placed, gpu, p) for p in Pipe if launch.amount(p)},
        "hbm": placed.hbm_us,
        "l2": placed.l2_us,
        "span": span_bound(placed),
    }
