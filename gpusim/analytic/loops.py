"""Main loops of CTAs that start at once and share SMs and memory."""

from typing import NamedTuple

import numpy as np

from gpusim.machine.placed import Pace
from gpusim.machine.saturation import memory_share, stretches
from gpusim.schedules.columns import Floats, Ints
from gpusim.units import ceil_div


class Loops(NamedTuple):
    """Loops that started at once: time until the last ends, and the part that memory answers for.

    `resident_us` and `full_resident_us` are the same summed over the CTAs that are in their loop.
    Columns.
    """

    time_us: Floats
    full_us: Floats
    resident_us: Floats
    full_resident_us: Floats


def equal_loops(pace: Pace, ctas: Ints, units: Floats | float, share_us: Floats | float) -> Loops:
    """Loops of equal CTAs that start at once, each of which needs memory for so long by itself.

    With k CTAs on the fullest SMs and k - 1 on the others: first all run, those with more room
    faster, then the crowded ones alone. Memory slows them down by what they ask of it (`stretch`).
    CTAs without a step only wait for memory. Takes and gives columns.
    """
    k = -(-ctas // pace.num_sms)
    crowded = (ctas - (k - 1) * pace.num_sms) * k
    others = ctas - crowded
    slow, fast = pace.rate(k), pace.rate(np.maximum(1, k - 1))
    demand = share_us / np.where(units > 0, units, 1.0)
    until = units / np.where(others > 0, fast, slow)
    together = _slowed(ctas, until, demand * (crowded * slow + others * fast))
    alone = _slowed(crowded, units / slow - until, demand * crowded * slow)
    waits = ctas.astype(np.float64) * share_us
    idle = Loops(waits, waits, ctas * waits, ctas * waits)
    return Loops(
        *(
            np.where(units > 0, first + second, wait)
            for first, second, wait in zip(together, alone, idle, strict=True)
        )
    )


def _slowed(ctas: Ints, needed_us: Floats, load: Floats) -> Loops:
    """So many CTAs that need so long without memory."""
    taken = needed_us * stretches(load)
    full = memory_share(load) * taken
    return Loops(taken, full, ctas * taken, ctas * full)


def drain(pace: Pace, units: Floats) -> Floats:
    """When each CTA of a launch is done with its loop if all start at once, CTA j on SM j mod SMs.

    An SM with loops u1 >= u2 >= ... runs n of them until the shortest ends, then n - 1, and so on:
    the n-th longest ends after Σ over i >= n of (u_i - u_(i+1)) / rate(i).
    """
    rows = ceil_div(len(units), pace.num_sms)
    padded = np.zeros(rows * pace.num_sms)
    padded[: len(units)] = units
    per_sm = padded.reshape(rows, pace.num_sms)
    rank = np.argsort(-per_sm, axis=0, kind="stable")
    ordered = np.take_along_axis(per_sm, rank, axis=0)
    steps = ordered - np.vstack([ordered[1:], np.zeros(pace.num_sms)])
    paces = 1 / pace.rate(np.arange(1, rows + 1))
    ends = np.empty_like(per_sm)
    np.put_along_axis(ends, rank, (steps * paces[:, None])[::-1].cumsum(axis=0)[::-1], axis=0)
    return ends.ravel()[: len(units)]
