"""Parts of a model's step: a kernel by itself, and what is no kernel of this machine."""

from collections.abc import Sequence

from gpusim.launch_result import LaunchResult
from gpusim.schedules.launch import Launch
from gpusim.spec.gpu import Gpu

Launches = tuple[LaunchResult, ...]


def timed(gpu: Gpu, launches: Sequence[Launch], engine: str, load: str | float) -> list[Launches]:
    """Launches by themselves, each with a cold L2."""
    calls = [(launch,) for launch in launches]
    if engine == "analytic":
        from gpusim.analytic.engine import predict_calls

        return predict_calls(gpu, calls, load=load)
    from gpusim.sim.engine import launch_results as run

    return [run(gpu, call, load=load)[0] for call in calls]


def not_a_kernel(name: str, time_us: float, *, operator: str, calls: int = 1) -> LaunchResult:
    """A part of a step that is no kernel of this machine: it only takes time."""
    return LaunchResult(
        name=name,
        ctas=0,
        threads=0,
        registers=0,
        smem_bytes=0,
        ctas_per_sm=0,
        warps_per_sm=0,
        occupancy_fraction=0.0,
        limiter="none",
        gap_us=0.0,
        time_us=time_us,
        bound=operator,
        breakdown={operator: 1.0},
        limited_us={operator: time_us},
        tile={},
        waves=0.0,
        achieved_fraction=0.0,
        sm_busy_fraction=0.0,
        issued_flop=0.0,
        hbm_read_bytes=0.0,
        hbm_write_bytes=0.0,
        l2_to_sm_bytes=0.0,
        smem_bytes_moved=0.0,
        pipe_utilisation={},
        calls=calls,
        operator=operator,
    )
