"""One launch placed on a GPU: resident CTAs, step time, latency and traffic, as numbers."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gpusim.machine.step_time import StepTime, per_cta
from gpusim.machine.traffic import Traffic
from gpusim.schedules.columns import Floats, Ints, Number
from gpusim.schedules.launch import Launch
from gpusim.schedules.occupancy import Occupancy
from gpusim.spec.gpu import Gpu


class Pace(NamedTuple):
    """How fast CTAs advance: of one launch, or columns with an entry per launch.

    Attributes:
        alone, shared: clocks of a step, see `StepTimes`.
        clock: SM clocks per us.
        num_sms: SMs of the GPU.
    """

    alone: Number
    shared: Number
    clock: float
    num_sms: int

    def rate(self, residents: Ints | int) -> Floats:
        """Steps per us of each of so many CTAs on one SM."""
        return self.clock / per_cta(self.alone, self.shared, residents)


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
        ramp_us, hbm_us, l2_us, slots, lanes, residents: see `Placement`.
        units: per distinct work item, its main loop and the transfer of Q and O, in steps.
        edge_steps_per_byte: steps that a byte of that transfer takes.
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
    ramp_us: float
    hbm_us: float
    l2_us: float
    slots: int
    lanes: int
    residents: int
    units: Floats
    edge_steps_per_byte: float
    hbm_bandwidth: float
    l2_bandwidth: float
    num_sms: int

    @property
    def l2_bytes(self) -> Floats:
        """Bytes that each distinct work item asks of L2, over the whole of it."""
        tiles = self.launch.work.tiles
        total: Floats = tiles.loop_bytes + tiles.load_bytes + tiles.store_bytes
        return total

    @property
    def hbm_bytes(self) -> Floats:
        """Those of them that go to HBM: of each item the same share."""
        return self.l2_bytes * self.traffic.hbm_fraction

    @property
    def pace(self) -> Pace:
        """How fast its CTAs advance."""
        return Pace(self.step.alone, self.step.shared, self.clock, self.num_sms)

    def rate(self, residents: int) -> float:
        """Steps per us of each of so many CTAs on one SM."""
        return float(self.pace.rate(residents))

    @property
    def rates(self) -> Floats:
        """The same for 0, 1, 2, ... CTAs, up to those that an SM holds; 0 for none."""
        rates = self.pace.rate(np.arange(self.occupancy.ctas_per_sm + 1))
        rates[0] = 0.0
        return rates


def edge_rate(gpu: Gpu, ctas: Ints) -> Floats:
    """Bytes a clock at which an SM loads queries and stores results: its share of L2, or its port.

    Items start and end together more often than not, so that all SMs with a CTA share L2.
    """
    share = gpu.l2.bytes_per_clock / np.minimum(gpu.sm.count, ctas)
    rate: Floats = np.minimum(gpu.l2.port_bytes_per_clock_per_sm, share)
    return rate


def last_store_bytes(launch: Launch) -> Floats:
    """Bytes that each distinct item stores at its end, beyond those that leave step by step."""
    tiles = launch.work.tiles
    last: Floats = np.maximum(0.0, tiles.store_bytes - tiles.steps * launch.step.store_bytes)
    return last
