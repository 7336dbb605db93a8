"""Launches placed on a GPU, as columns: what both engines start from."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gpusim.machine.placed import Pace, Placed, edge_rate
from gpusim.machine.step_time import StepCost, StepTimes, step_at
from gpusim.machine.traffic import Traffic
from gpusim.schedules.columns import Floats, Ints
from gpusim.schedules.launch import Launch
from gpusim.schedules.occupancy import Occupancy
from gpusim.spec.gpu import Gpu


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
