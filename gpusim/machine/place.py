"""Places the launches of many calls on a GPU at once: residents, step times, traffic."""

from collections.abc import Sequence
from itertools import chain, islice

import numpy as np

from gpusim.errors import SpecError
from gpusim.machine.pipes import pipe_rate
from gpusim.machine.placed import Placed, edge_rate, last_store_bytes
from gpusim.machine.placement import Placement
from gpusim.machine.step_time import StepCost, StepTimes, step_cost, step_times
from gpusim.machine.traffic import Traffic, count_traffic
from gpusim.schedules.columns import Floats, Ints
from gpusim.schedules.launch import Launch, Launches
from gpusim.schedules.occupancy import Occupancy, occupancy
from gpusim.spec.gpu import Gpu
from gpusim.units import NS_PER_US, US_PER_S


def place(launches: Launches, gpu: Gpu, *, load: str | float, warm: bool) -> tuple[Placed, ...]:
    """Place the launches of a call; arguments and errors as `place_calls`."""
    if not launches:
        return ()
    placement = place_calls((launches,), gpu, load=load, warm=warm)
    return tuple(map(placement.one, range(len(launches))))


def place_calls(calls: Sequence[Launches], gpu: Gpu, *, load: str | float, warm: bool) -> Placement:
    """Place the launches of calls that have nothing to do with one another.

    Args:
        calls: of each its launches, in order; at least one in all.
        gpu: the GPU.
        load: 'benchmark', 'steady' or seconds of continuous load; decides the clock.
        warm: the same call with the same buffers ran just before.

    Raises:
        SpecError: if a launch asks for more than an SM has.
    """
    launches = tuple(chain.from_iterable(calls))
    fits, costs = _fits(launches, gpu), _costs(launches, gpu)
    slots = iter(gpu.sm.count * fit.ctas_per_sm for fit in fits)
    traffic = tuple(
        chain.from_iterable(
            count_traffic(call, gpu, tuple(islice(slots, len(call))), warm=warm) for call in calls
        )
    )
    clock = gpu.clock_hz(load) / US_PER_S
    ctas = np.array([launch.num_ctas for launch in launches])
    steps = step_times(costs, _load_clocks(launches, traffic, gpu, clock))
    rows = np.array([len(launch.work.tiles) for launch in launches])
    start = gpu.cta.latency_ns / NS_PER_US * clock
    latency = np.array(
        [
            (0.0 if la.plain else start) + la.item_clocks + _item_clocks(la, gpu, fit)
            for la, fit in zip(launches, fits, strict=True)
        ]
    )
    gap = [la.lead_us + (0.0 if la.programmatic else gpu.launch.graph_us) for la in launches]
    merge = np.array([launch.merge_bytes for launch in launches])
    return Placement(
        gpu=gpu,
        launches=launches,
        fits=fits,
        traffic=traffic,
        costs=costs,
        steps=steps,
        clock=clock,
        ctas=ctas,
        latency_us=latency / clock,
        gap_us=np.array(gap),
        merge_us=(gpu.l2.latency_clocks + merge / gpu.l2.port_bytes_per_clock_per_sm) / clock,
        units=_units(launches, rows, edge_rate(gpu, ctas), steps),
        first=np.concatenate(([0], np.cumsum(rows))),
    )


def _fits(launches: Launches, gpu: Gpu) -> tuple[Occupancy, ...]:
    """Occupancy of each launch; equal ones are looked at once."""
    keys = [(launch.threads, launch.registers, launch.smem_bytes) for launch in launches]
    known: dict[tuple[int, int, int], Occupancy] = {}
    for key, launch in zip(keys, launches, strict=True):
        if key not in known:
            known[key] = _occupancy(launch, gpu)
    return tuple(known[key] for key in keys)


def _occupancy(launch: Launch, gpu: Gpu) -> Occupancy:
    try:
        fit = occupancy(
            gpu,
            threads=launch.threads,
            registers=launch.registers,
            smem_bytes=launch.smem_bytes,
        )
    except ValueError as error:
        raise SpecError(f"{launch.name} on {gpu.name}: {error}") from error
    if fit.ctas_per_sm == 0:
        raise SpecError(
            f"{launch.name} on {gpu.name}: expected a CTA that fits on an SM, found"
            f" {launch.threads} threads of {launch.registers} registers and {launch.smem_bytes}"
            f" bytes of shared memory; limited by {fit.limiter.replace('_', ' ')}"
        )
    return fit


def _costs(launches: Launches, gpu: Gpu) -> tuple[StepCost, ...]:
    """Cost of each launch's step; launches of one tile share the step, and so its cost."""
    steps = {id(launch.step): launch.step for launch in launches}
    known = {key: step_cost(gpu, step) for key, step in steps.items()}
    return tuple(known[id(launch.step)] for launch in launches)


def _load_clocks(launches: Launches, traffic: Sequence[Traffic], gpu: Gpu, clock: float) -> Floats:
    """Clocks that a load of each launch waits: of L2, and of HBM for the share that misses."""
    asked = np.array([sum(o.requested_bytes for o in launch.reads) for launch in launches])
    read = np.array([t.hbm_read_bytes for t in traffic])
    missed = read / np.where(asked > 0, asked, 1.0)
    l2 = gpu.l2.latency_clocks
    dram = gpu.hbm.latency_ns / NS_PER_US * clock
    # `miss_ns` is one wait of a step more, in equal parts with its others.
    steps = (launch.step for launch in launches)
    more_ns = np.array([s.miss_ns / s.loads if s.miss_ns else 0.0 for s in steps])
    more = more_ns / NS_PER_US * clock
    clocks: Floats = l2 + missed * (max(0.0, dram - l2) + more)
    return clocks


def _units(launches: Launches, rows: Ints, rate: Floats, steps: StepTimes) -> Floats:
    """Of each distinct item, its loop, its loads and stores at the ends, and keys passed over."""
    tiles = [launch.work.tiles for launch in launches]
    edge = [t.load_bytes + last_store_bytes(la) for la, t in zip(launches, tiles, strict=True)]
    clocks = np.concatenate(edge) / np.repeat(rate, rows) + np.repeat(steps.fill, rows)
    skip = np.array([launch.step.skip_clocks_per_key for launch in launches])
    if skip.any():
        clocks += np.concatenate([t.kv_start for t in tiles]) * np.repeat(skip, rows)
    units: Floats = np.concatenate([t.steps for t in tiles]) + clocks / np.repeat(steps.alone, rows)
    return units


def _item_clocks(launch: Launch, gpu: Gpu, fit: Occupancy) -> float:
    """Clocks of `item_amounts`, for all CTAs with work that share the fullest SM."""
    if not launch.item_amounts:
        return 0.0
    alone = sum(n / pipe_rate(gpu, launch.step, pipe) for pipe, n in launch.item_amounts.items())
    crowd = fit.ctas_per_sm
    if launch.work.num_items <= crowd * gpu.sm.count:
        busy = np.flatnonzero(launch.work.tiles.steps[launch.work.order()])
        crowd = int(np.bincount(busy % gpu.sm.count).max())
    return crowd * alone
