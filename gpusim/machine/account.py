"""Turns an engine's timing of placed launches into a `Result`."""

from collections.abc import Mapping
from dataclasses import dataclass

from gpusim.launch_result import LaunchResult, Sample, Span
from gpusim.machine.pipes import pipe_rate
from gpusim.machine.place import Placed
from gpusim.result import Engine, Result
from gpusim.schedules.mask import compulsory_bytes, useful_flop
from gpusim.schedules.step import Pipe
from gpusim.spec.attention import Attention
from gpusim.spec.gpu import Gpu
from gpusim.units import PJ, US_PER_S, ceil_div


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """What an engine found out about one launch.

    Attributes:
        time_us: from start to last end.
        shares: share of the slots' time by cause, before pipes are told apart: 'step' stands for
            CTAs that advance at the pipes' pace. They add up to 1.
        limited_us: time on the clock by what held back the CTAs that ran: 'hbm', 'l2' or 'step'
            while any was in its main loop, else 'fix_up' while any waited for peers or merged; in
            the rest, CTAs started or ended.
        resident_us: CTA residence, summed over CTAs.
        sm_busy_us: time with at least one CTA, summed over SMs.
    """

    time_us: float
    shares: Mapping[str, float]
    limited_us: Mapping[str, float]
    resident_us: float
    sm_busy_us: float


def launch_result(placed: Placed, timing: Timing, gpu: Gpu) -> LaunchResult:
    """Combine what is counted with what was timed."""
    launch, fit = placed.launch, placed.occupancy
    breakdown = {name: share for name, share in timing.shares.items() if name != "step"}
    for name, share in placed.step.causes(placed.residents).items():
        breakdown[name] = breakdown.get(name, 0.0) + share * timing.shares.get("step", 0.0)
    breakdown = _normalised(breakdown)
    limited = _limits(placed, timing)
    sm_time = timing.time_us * placed.num_sms
    resident_warps_us = timing.resident_us * ceil_div(launch.threads, 32)
    return LaunchResult(
        name=launch.name,
        ctas=launch.num_ctas,
        threads=launch.threads,
        registers=launch.registers,
        smem_bytes=launch.smem_bytes,
        ctas_per_sm=fit.ctas_per_sm,
        warps_per_sm=fit.warps_per_sm,
        occupancy_fraction=fit.fraction,
        limiter=fit.limiter,
        gap_us=placed.gap_us,
        time_us=timing.time_us,
        bound=max(limited, key=lambda name: limited[name]),
        breakdown=breakdown,
        limited_us=limited,
        tile=dict(launch.tile),
        waves=launch.num_ctas / placed.slots,
        achieved_fraction=resident_warps_us / (sm_time * gpu.max_warps),
        sm_busy_fraction=timing.sm_busy_us / sm_time,
        issued_flop=launch.issued_flop,
        hbm_read_bytes=placed.traffic.hbm_read_bytes,
        hbm_write_bytes=placed.traffic.hbm_write_bytes,
        l2_to_sm_bytes=sum(o.requested_bytes for o in launch.reads),
        smem_bytes_moved=launch.amount(Pipe.SMEM),
        pipe_utilisation={
            pipe.value: launch.amount(pipe)
            / pipe_rate(gpu, launch.step, pipe)
            / (placed.clock * sm_time)
            for pipe in Pipe
            if launch.amount(pipe)
        },
        clock_mhz=placed.clock,
    )


def total_result(
    attention: Attention,
    gpu: Gpu,
    launches: tuple[LaunchResult, ...],
    *,
    footprint_bytes: float,
    names: tuple[str, str],
    engine: Engine,
    spans: tuple[Span, ...] = (),
    samples: tuple[Sample, ...] = (),
) -> Result:
    """Add up the launches of a call, with the gap before each (CUDA-graph replay).

    Energy is idle power over the time plus energy per issued tensor FLOP and per HBM byte, and at
    most the board's power limit over the time; work on other pipes and in L2 counts nothing.
    """
    time_us = sum(la.time_us + la.gap_us for la in launches)
    parts: dict[str, float] = {"launch": sum(la.gap_us for la in launches)}
    for la in launches:
        for name, share in la.breakdown.items():
            parts[name] = parts.get(name, 0.0) + share * la.time_us
    breakdown = _normalised(parts)
    limits = {"launch": parts["launch"]}
    for la in launches:
        for name, us in la.limited_us.items():
            limits[name] = limits.get(name, 0.0) + us
    bytes_ = sum(la.hbm_read_bytes + la.hbm_write_bytes for la in launches)
    flop = sum(la.issued_flop for la in launches)
    power, seconds = gpu.power, time_us / US_PER_S
    work_j = (power.hbm_pj_per_byte * bytes_ + power.tensor_pj_per_flop * flop) * PJ
    return Result(
        workload=names[0],
        gpu=gpu.name,
        schedule=names[1],
        engine=engine,
        time_us=time_us,
        bound=max(limits, key=lambda name: limits[name]),
        breakdown=breakdown,
        useful_flop=useful_flop(attention),
        compulsory_bytes=compulsory_bytes(attention),
        footprint_bytes=footprint_bytes,
        energy_j=min(power.idle_w * seconds + work_j, power.tdp_w * seconds),
        launches=launches,
        spans=spans,
        samples=samples,
    )


def _limits(placed: Placed, timing: Timing) -> dict[str, float]:
    """Time on the clock by what held the launch back; the step speaks through its slowest pipe."""
    causes = placed.step.causes(placed.residents)
    pipe = max(causes, key=lambda name: causes[name])
    limits = {pipe if name == "step" else name: us for name, us in timing.limited_us.items()}
    limits["cta_latency"] = max(0.0, timing.time_us - sum(limits.values()))
    return {name: us for name, us in limits.items() if us > 0}


def _normalised(parts: Mapping[str, float]) -> dict[str, float]:
    """Shares that add up to 1, greatest first."""
    total = sum(parts.values())
    kept = {name: value / total for name, value in parts.items() if value > 0}
    return dict(sorted(kept.items(), key=lambda item: (-item[1], item[0])))
