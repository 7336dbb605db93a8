"""Turns an engine's timing of placed launches into a `Result`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from gpusim.launch_result import LaunchResult, Sample, Span
from gpusim.machine.pipes import pipe_rate
from gpusim.machine.placement import Placement
from gpusim.machine.step_time import CAUSES
from gpusim.result import Engine, Result
from gpusim.schedules.columns import Floats
from gpusim.schedules.mask import compulsory_bytes, useful_flop
from gpusim.schedules.step import Pipe
from gpusim.spec.attention import Attention
from gpusim.spec.gpu import Gpu
from gpusim.units import PJ, US_PER_S, ceil_div


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """What an engine found out about launches: columns, an entry per launch.

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

    time_us: Floats
    shares: Mapping[str, Floats]
    limited_us: Mapping[str, Floats]
    resident_us: Floats
    sm_busy_us: Floats


def launch_results(placement: Placement, timings: Timings) -> tuple[LaunchResult, ...]:
    """Combine what is counted with what was timed."""
    gpu, launches = placement.gpu, placement.launches
    causes = placement.steps.shares(placement.residents)
    sm_time = timings.time_us * gpu.sm.count
    warps = np.array([ceil_div(launch.threads, 32) for launch in launches])
    achieved = timings.resident_us * warps / (sm_time * gpu.max_warps)
    busy = timings.sm_busy_us / sm_time
    columns = (timings.time_us, sm_time, achieved, busy)
    rows = zip(
        _breakdowns(causes, timings),
        _limits(causes, timings),
        *(column.tolist() for column in columns),
        strict=True,
    )
    return tuple(_launch_result(placement, index, *row) for index, row in enumerate(rows))


def _launch_result(
    placement: Placement,
    index: int,
    breakdown: dict[str, float],
    limited: dict[str, float],
    time_us: float,
    sm_time: float,
    achieved: float,
    busy: float,
) -> LaunchResult:
    launch, fit = placement.launches[index], placement.fits[index]
    traffic, amounts = placement.traffic[index], launch.amounts()
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
        gap_us=float(placement.gap_us[index]),
        time_us=time_us,
        bound=max(limited, key=lambda name: limited[name]),
        breakdown=breakdown,
        limited_us=limited,
        tile=dict(launch.tile),
        waves=launch.num_ctas / int(placement.slots[index]),
        achieved_fraction=achieved,
        sm_busy_fraction=busy,
        issued_flop=amounts.get(Pipe.TENSOR, 0.0),
        hbm_read_bytes=traffic.hbm_read_bytes,
        hbm_write_bytes=traffic.hbm_write_bytes,
        l2_to_sm_bytes=sum(o.requested_bytes for o in launch.reads),
        smem_bytes_moved=amounts.get(Pipe.SMEM, 0.0),
        pipe_utilisation={
            pipe.value: amount
            / pipe_rate(placement.gpu, launch.step, pipe)
            / (placement.clock * sm_time)
            for pipe, amount in amounts.items()
        },
        clock_mhz=placement.clock,
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
    breakdown = _normalised(parts.items())
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


def _breakdowns(causes: Floats, timings: Timings) -> list[dict[str, float]]:
    """Shares of the slots' time; those of 'step' as the causes of its time have them."""
    others = {name: share for name, share in timings.shares.items() if name != "step"}
    names = (*CAUSES, *others)
    parts = np.empty((len(causes), len(names)))
    parts[:, : len(CAUSES)] = causes * timings.shares["step"][:, None]
    for column, share in enumerate(others.values(), start=len(CAUSES)):
        parts[:, column] = share
    return [_normalised(zip(names, row, strict=True)) for row in parts.tolist()]


def _limits(causes: Floats, timings: Timings) -> list[dict[str, float]]:
    """Time on the clock by what held the launch back; the step speaks through its slowest pipe."""
    pipes = (CAUSES[index] for index in causes.argmax(axis=1).tolist())
    names = tuple(timings.limited_us)
    found = []
    rows = np.stack([timings.time_us, *timings.limited_us.values()], axis=1).tolist()
    for pipe, (time_us, *row) in zip(pipes, rows, strict=True):
        limits = dict(zip(names, row, strict=True))
        limits["cta_latency"] = max(0.0, time_us - sum(row))
        found.append({pipe if n == "step" else n: us for n, us in limits.items() if us > 0})
    return found


def _normalised(parts: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Shares that add up to 1, greatest first."""
    kept = [(name, value) for name, value in parts if value > 0]
    total = sum(value for _, value in kept)
    shares = [(name, value / total) for name, value in kept]
    return dict(sorted(shares, key=lambda item: (-item[1], item[0])))
