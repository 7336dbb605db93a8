"""Places the launches of many calls on a GPU at once, ready for an engine."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice

import numpy as np

from gpusim.errors import SpecError
from gpusim.machine.pipes import StepCost, StepTimes, pipe_rate, step_at, step_cost, step_times
from gpusim.machine.placed import Pace, Placed, last_store_bytes
from gpusim.machine.traffic import Traffic, count_traffic
from gpusim.schedules.launch import Launch
from gpusim.schedules.occupancy import Occupancy, occupancy
from gpusim.schedules.work import Floats, Ints
from gpusim.spec.gpu import Gpu
from gpusim.units import NS_PER_US, US_PER_S

Call = tuple[Launch, ...]


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Launches on a GPU: columns, an entry per launch. Times in us, rates per us.

    Attributes:
        gpu: the GPU.
        launches: those of one call after those of another.
        fits: resident CTAs and what limits them.
        traffic: bytes by level.
        costs, steps: of their steps, in clocks.
        clock: SM clocks per us.
        ctas: CTAs of the grid.
        latency_us, gap_us, merge_us: see `Placed`.
        units: see `Placed`: the distinct work items of one launch after those of another.
        first: the first of each launch in `units`; one more at the end.
    """

    gpu: Gpu
    launches: tuple[Launch, ...]
    fits: tuple[Occupancy, ...]
    traffic: tuple[Traffic, ...]
    costs: tuple[StepCost, ...]
    steps: StepTimes
    clock: float
    ctas: Ints
    latency_us: Floats
    gap_us: Floats
    merge_us: Floats
    units: Floats
    first: Ints

    @cached_property
    def slots(self) -> Ints:
        """CTAs that the GPU holds at once."""
        return self.gpu.sm.count * np.array([fit.ctas_per_sm for fit in self.fits])

    @cached_property
    def lanes(self) -> Ints:
        """CTAs of a launch that run at once."""
        return np.minimum(self.slots, self.ctas)

    @cached_property
    def residents(self) -> Ints:
        """CTAs on the fullest SM."""
        return -(-self.lanes // self.gpu.sm.count)

    @cached_property
    def hbm_us(self) -> Floats:
        """All HBM bytes at sustained bandwidth."""
        return np.array([t.hbm_bytes for t in self.traffic]) / self.hbm_bandwidth

    @cached_property
    def l2_us(self) -> Floats:
        """All bytes between L2 and the SMs at L2 bandwidth."""
        return np.array([t.requested_bytes for t in self.traffic]) / self.l2_bandwidth

    @property
    def hbm_bandwidth(self) -> float:
        """Bytes per us."""
        return self.gpu.hbm.sustained_gb_per_s * 1e3

    @property
    def l2_bandwidth(self) -> float:
        """Bytes per us."""
        return self.gpu.l2.bytes_per_clock * self.clock

    @cached_property
    def ramp_us(self) -> Floats:
        """Time of a launch in which HBM and the pipes do not overlap: its first and last steps.

        While the first tiles come nothing multiplies, and while the last multiply nothing comes:

            min(HBM time of a lane's step, time of a step alone) · min(1, steps of a lane)
        """
        counts = np.concatenate([la.work.counts for la in self.launches])
        steps = np.add.reduceat(self.units * counts, self.first[:-1]) / self.lanes
        overlaps = (steps > 0) & np.array([not la.plain for la in self.launches])
        load = self.hbm_us / np.where(overlaps, steps, 1.0)
        least = np.minimum(load, 1 / self.pace(slice(None)).rate(1))
        return np.where(overlaps, least * np.minimum(1.0, steps), 0.0)

    def pace(self, chosen: Ints | slice) -> Pace:
        """How fast the CTAs of some launches advance."""
        steps, sms = self.steps, self.gpu.sm.count
        return Pace(steps.alone[chosen], steps.shared[chosen], self.clock, sms)

    def one(self, index: int) -> Placed:
        """One of the launches."""
        rate = float(edge_rate(self.gpu, self.ctas[index]))
        return Placed(
            launch=self.launches[index],
            occupancy=self.fits[index],
            step=step_at(self.steps, self.costs, index),
            traffic=self.traffic[index],
            clock=self.clock,
            latency_us=float(self.latency_us[index]),
            gap_us=float(self.gap_us[index]),
            merge_us=float(self.merge_us[index]),
            ramp_us=float(self.ramp_us[index]),
            hbm_us=float(self.hbm_us[index]),
            l2_us=float(self.l2_us[index]),
            slots=int(self.slots[index]),
            lanes=int(self.lanes[index]),
            residents=int(self.residents[index]),
            units=self.units[self.first[index] : self.first[index + 1]],
            edge_steps_per_byte=1 / (rate * float(self.steps.alone[index])),
            hbm_bandwidth=self.hbm_bandwidth,
            l2_bandwidth=self.l2_bandwidth,
            num_sms=self.gpu.sm.count,
        )


def place(launches: Call, gpu: Gpu, *, load: str | float, warm: bool) -> tuple[Placed, ...]:
    """Place the launches of a call; arguments and errors as `place_calls`."""
    placement = place_calls((launches,), gpu, load=load, warm=warm)
    return tuple(map(placement.one, range(len(launches))))


def place_calls(calls: Sequence[Call], gpu: Gpu, *, load: str | float, warm: bool) -> Placement:
    """Place the launches of calls that have nothing to do with one another.

    Args:
        calls: of each its launches, in order.
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


def edge_rate(gpu: Gpu, ctas: Ints) -> Floats:
    """Bytes a clock at which an SM loads queries and stores results: its share of L2, or its port.

    Items start and end together more often than not, so that all SMs with a CTA share L2.
    """
    share = gpu.l2.bytes_per_clock / np.minimum(gpu.sm.count, ctas)
    rate: Floats = np.minimum(gpu.l2.port_bytes_per_clock_per_sm, share)
    return rate


def _fits(launches: Call, gpu: Gpu) -> tuple[Occupancy, ...]:
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


def _costs(launches: Call, gpu: Gpu) -> tuple[StepCost, ...]:
    """Cost of each launch's step; launches of one tile share the step, and so its cost."""
    steps = {id(launch.step): launch.step for launch in launches}
    known = {key: step_cost(gpu, step) for key, step in steps.items()}
    return tuple(known[id(launch.step)] for launch in launches)


def _load_clocks(launches: Call, traffic: Sequence[Traffic], gpu: Gpu, clock: float) -> Floats:
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


def _units(launches: Call, rows: Ints, rate: Floats, steps: StepTimes) -> Floats:
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
