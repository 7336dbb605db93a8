"""A launch placed on a GPU: resident CTAs, step time, latency and traffic, ready for an engine."""

from dataclasses import dataclass

import numpy as np

from gpusim.errors import SpecError
from gpusim.machine.pipes import StepTime, pipe_rate, step_time
from gpusim.machine.traffic import Traffic, count_traffic
from gpusim.schedules.launch import Launch
from gpusim.schedules.occupancy import Occupancy, occupancy
from gpusim.schedules.work import Floats
from gpusim.spec.gpu import Gpu
from gpusim.units import NS_PER_US, US_PER_S, ceil_div


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Everything an engine needs to time one launch. Times in us, rates per us.

    Attributes:
        launch: the launch.
        occupancy: resident CTAs and what limits them.
        step: time of a step in clocks.
        traffic: bytes by level.
        clock: SM clocks per us.
        latency_us: of each work item outside its main loop; it occupies no pipe.
        gap_us: between the launch before it and its start.
        merge_us: to merge one peer's partial result: an L2 latency and its bytes.
        units: per distinct work item, its main loop and the transfer of Q and O, in steps.
        edge_steps_per_byte: steps that a byte of that transfer takes.
        hbm_bytes, l2_bytes: per distinct work item, over the whole of it.
        hbm_bandwidth, l2_bandwidth: bytes per us of the whole GPU.
        num_sms: SMs of the GPU.
    """

    launch: Launch
    occupancy: Occupancy
    step: StepTime
    traffic: Traffic
    clock: float
    latency_us: float
    gap_us: float
    merge_us: float
    units: Floats
    edge_steps_per_byte: float
    hbm_bytes: Floats
    l2_bytes: Floats
    hbm_bandwidth: float
    l2_bandwidth: float
    num_sms: int

    @property
    def slots(self) -> int:
        """CTAs that the GPU holds at once."""
        return self.num_sms * self.occupancy.ctas_per_sm

    @property
    def lanes(self) -> int:
        """CTAs of this launch that run at once."""
        return min(self.slots, self.launch.num_ctas)

    @property
    def residents(self) -> int:
        """CTAs on the fullest SM."""
        return ceil_div(self.lanes, self.num_sms)

    @property
    def ramp_us(self) -> float:
        """Time of a launch in which HBM and the pipes do not overlap: its first and last steps.

        While the first tiles come nothing multiplies, and while the last multiply nothing comes:

            min(HBM time of a lane's step, time of a step alone) · min(1, steps of a lane)
        """
        steps = self.launch.work.total(self.units) / self.lanes
        if self.launch.plain or not steps:
            return 0.0
        load = self.traffic.hbm_bytes / self.hbm_bandwidth / steps
        return min(load, 1 / self.rate(1)) * min(1.0, steps)

    def rate(self, residents: int) -> float:
        """Steps per us of each of so many CTAs on one SM."""
        return self.clock / self.step.per_cta(residents)


def place(
    launches: tuple[Launch, ...], gpu: Gpu, *, load: str | float, warm: bool
) -> tuple[Placed, ...]:
    """Place the launches of a call.

    Raises:
        SpecError: if a launch asks for more than an SM has.
    """
    fits = [_occupancy(launch, gpu) for launch in launches]
    slots = tuple(gpu.sm.count * fit.ctas_per_sm for fit in fits)
    traffic = count_traffic(launches, gpu, slots, warm=warm)
    clock_hz = gpu.clock_hz(load)
    return tuple(
        _place(launch, gpu, fit, bytes_, clock_hz)
        for launch, fit, bytes_ in zip(launches, fits, traffic, strict=True)
    )


def edge_rate(gpu: Gpu, ctas: int) -> float:
    """Bytes a clock at which an SM loads queries and stores results: its share of L2, or its port.

    Items start and end together more often than not, so that all SMs with a CTA share L2.
    """
    share = gpu.l2.bytes_per_clock / min(gpu.sm.count, ctas)
    return min(gpu.l2.port_bytes_per_clock_per_sm, share)


def last_store_bytes(launch: Launch) -> Floats:
    """Bytes that each distinct item stores at its end, beyond those that leave step by step."""
    tiles = launch.work.tiles
    last: Floats = np.maximum(0.0, tiles.store_bytes - tiles.steps * launch.step.store_bytes)
    return last


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


def _place(launch: Launch, gpu: Gpu, fit: Occupancy, traffic: Traffic, clock_hz: float) -> Placed:
    clock = clock_hz / US_PER_S
    dram = gpu.hbm.latency_ns / NS_PER_US * clock
    asked = sum(o.requested_bytes for o in launch.reads)
    missed = traffic.hbm_read_bytes / asked if asked else 0.0
    latency = gpu.l2.latency_clocks + missed * max(0.0, dram - gpu.l2.latency_clocks)
    if launch.step.miss_ns:  # one wait of a step more, in equal parts with its others
        latency += missed * launch.step.miss_ns / NS_PER_US * clock / launch.step.loads
    step = step_time(gpu, launch.step, latency_clocks=latency)
    tiles = launch.work.tiles
    rate = edge_rate(gpu, launch.num_ctas)
    edge_clocks = (tiles.load_bytes + last_store_bytes(launch)) / rate
    skip_clocks = tiles.kv_start * launch.step.skip_clocks_per_key
    total = tiles.loop_bytes + tiles.load_bytes + tiles.store_bytes
    start = 0.0 if launch.plain else gpu.cta.latency_ns / NS_PER_US * clock
    latency = start + launch.item_clocks + _item_clocks(launch, gpu, fit)
    return Placed(
        launch=launch,
        occupancy=fit,
        step=step,
        traffic=traffic,
        clock=clock,
        latency_us=latency / clock,
        gap_us=launch.lead_us + (0.0 if launch.programmatic else gpu.launch.graph_us),
        merge_us=(gpu.l2.latency_clocks + launch.merge_bytes / gpu.l2.port_bytes_per_clock_per_sm)
        / clock,
        units=tiles.steps + (edge_clocks + skip_clocks + step.fill) / step.alone,
        edge_steps_per_byte=1 / (rate * step.alone),
        hbm_bytes=total * traffic.hbm_fraction,
        l2_bytes=total,
        hbm_bandwidth=gpu.hbm.sustained_gb_per_s * 1e3,
        l2_bandwidth=gpu.l2.bytes_per_clock * clock,
        num_sms=gpu.sm.count,
    )


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
