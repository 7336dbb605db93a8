"""Lower bounds on the time of a launch: no engine may be faster than any of them."""

from gpusim.machine.pipes import pipe_rate
from gpusim.machine.place import Placed
from gpusim.schedules.step import Pipe
from gpusim.spec.gpu import Gpu


def pipe_bound(placed: Placed, gpu: Gpu, pipe: Pipe) -> float:
    """All of a pipe's work, spread evenly over all SMs, in us."""
    launch = placed.launch
    rate = pipe_rate(gpu, launch.step, pipe) * placed.clock * placed.num_sms
    return launch.amount(pipe) / rate


def hbm_bound(placed: Placed) -> float:
    """All HBM bytes at sustained bandwidth, in us."""
    return placed.traffic.hbm_bytes / placed.hbm_bandwidth


def l2_bound(placed: Placed) -> float:
    """All bytes between L2 and the SMs at L2 bandwidth, in us."""
    return placed.traffic.requested_bytes / placed.l2_bandwidth


def span_bound(placed: Placed) -> float:
    """The longest work item with an SM to itself, in us."""
    return placed.latency_us + float(placed.units.max()) / placed.rate(1)


def bounds(placed: Placed, gpu: Gpu) -> dict[str, float]:
    """Every bound by name."""
    launch = placed.launch
    return {
        **{p.value: pipe_bound(placed, gpu, p) for p in Pipe if launch.amount(p)},
        "hbm": hbm_bound(placed),
        "l2": l2_bound(placed),
        "span": span_bound(placed),
    }
