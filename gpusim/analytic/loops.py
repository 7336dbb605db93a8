"""Main loops of CTAs that start at once and share SMs and memory."""

from dataclasses import dataclass

import numpy as np

from gpusim.machine.place import Placed
from gpusim.machine.saturation import memory_share, stretch
from gpusim.schedules.work import Floats
from gpusim.units import ceil_div


@dataclass(frozen=True, slots=True)
class Loops:
    """Loops that started at once: time until the last ends, and the part that memory answers for.

    `resident_us` and `full_resident_us` are the same summed over the CTAs that are in their loop.
    """

    time_us: float
    full_us: float
    resident_us: float
    full_resident_us: float

    def __add__(self, other: "Loops") -> "Loops":
        return Loops(*(x + y for x, y in zip(self._numbers, other._numbers, strict=True)))

    def __mul__(self, times: float) -> "Loops":
        return Loops(*(x * times for x in self._numbers))

    @property
    def _numbers(self) -> tuple[float, float, float, float]:
        return self.time_us, self.full_us, self.resident_us, self.full_resident_us


def equal_loops(placed: Placed, ctas: int, units: float, share_us: float) -> Loops:
    """Loops of equal CTAs that start at once, each of which needs memory for so long by itself.

    With k CTAs on the fullest SMs and k - 1 on the others: first all run, those with more room
    faster, then the crowded ones alone. Memory slows them down by what they ask of it (`stretch`).
    """
    if not units:
        time = ctas * share_us
        return Loops(time, time, ctas * time, ctas * time)
    k = ceil_div(ctas, placed.num_sms)
    crowded = (ctas - (k - 1) * placed.num_sms) * k
    slow, fast = placed.rate(k), placed.rate(max(1, k - 1))
    demand = share_us / units
    phases = [(crowded, units / slow, demand * crowded * slow)]
    if crowded < ctas:
        together = demand * (crowded * slow + (ctas - crowded) * fast)
        alone = (crowded, units / slow - units / fast, demand * crowded * slow)
        phases = [(ctas, units / fast, together), alone]
    time = full = resident = full_resident = 0.0
    for running, needed, load in phases:
        taken, blamed = needed * stretch(load), memory_share(load)
        time += taken
        resident += running * taken
        full += blamed * taken
        full_resident += blamed * running * taken
    return Loops(time, full, resident, full_resident)


def drain(placed: Placed, units: Floats) -> Floats:
    """When each CTA is done with its loop if all start at once, CTA j on SM j mod SMs.

    An SM with loops u1 >= u2 >= ... runs n of them until the shortest ends, then n - 1, and so on:
    the n-th longest ends after Σ over i >= n of (u_i - u_(i+1)) / rate(i).
    """
    rows = ceil_div(len(units), placed.num_sms)
    padded = np.zeros(rows * placed.num_sms)
    padded[: len(units)] = units
    per_sm = padded.reshape(rows, placed.num_sms)
    rank = np.argsort(-per_sm, axis=0, kind="stable")
    ordered = np.take_along_axis(per_sm, rank, axis=0)
    steps = ordered - np.vstack([ordered[1:], np.zeros(placed.num_sms)])
    paces = np.array([[1 / placed.rate(n)] for n in range(1, rows + 1)])
    ends = np.empty_like(per_sm)
    np.put_along_axis(ends, rank, (steps * paces)[::-1].cumsum(axis=0)[::-1], axis=0)
    return ends.ravel()[: len(units)]
