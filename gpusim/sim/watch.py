"""What a traced run keeps beside its result: spans of the items, and counters over time.

An untraced run keeps none of it: the watching is a subclass, so that it costs nothing.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from simpy import Environment

from gpusim.launch_result import Sample, Span
from gpusim.machine.placed import Placed, last_store_bytes
from gpusim.schedules.columns import Floats
from gpusim.sim.stepping import Stepping

#: A launch has at most so many samples; where more happens, they are means of equal stretches.
MAX_SAMPLES = 1000

#: Start and end (us), HBM and L2 bytes per us, CTAs in the loop.
Flow = tuple[float, float, float, float, int]


class WatchedStepping(Stepping):
    """A `Stepping` that notes, whenever time has passed, what flowed meanwhile."""

    def __init__(self, env: Environment, *machine: Any) -> None:
        super().__init__(env, *machine)
        self.flows: list[Flow] = []

    def _advance(self) -> None:
        start = self._now
        super()._advance()
        if self._now > start and self._count:
            hbm, l2 = self._hbm * self._scale, self._l2 * self._scale
            self.flows.append((start, self._now, hbm, l2, self._count))


@dataclass(frozen=True, slots=True)
class Stay:
    """One item on a slot, as the run knows it; times in us from the start of the launch."""

    sm: int
    slot: int
    item: int
    row: int
    start: float
    loop: float
    wait: float
    end: float


def spans(stays: list[Stay], placed: Placed, launch: int, offset: float) -> list[Span]:
    """Spans of one launch, `launch` of the call, that started `offset` us after it."""
    tiles = placed.launch.work.tiles
    units = np.where(placed.units > 0, placed.units, 1.0)
    before = tiles.load_bytes * placed.edge_steps_per_byte / units
    after = last_store_bytes(placed.launch) * placed.edge_steps_per_byte / units
    shares = list(zip(tiles.steps.tolist(), before.tolist(), after.tolist(), strict=True))
    found = []
    for stay in stays:
        steps, first, last = shares[stay.row]
        loop_us = stay.wait - stay.loop
        steps_us = stay.loop + first * loop_us
        found.append(
            Span(
                launch=launch,
                sm=stay.sm,
                slot=stay.slot,
                item=stay.item,
                steps=float(steps),
                start_us=offset + stay.start,
                loop_us=offset + stay.loop,
                steps_us=offset + steps_us,
                store_us=offset + max(steps_us, stay.wait - last * loop_us),
                wait_us=offset + stay.wait,
                end_us=offset + stay.end,
            )
        )
    return found


def samples(
    flows: list[Flow],
    stays: list[Stay],
    end: float,
    launch: int,
    offset: float,
) -> list[Sample]:
    """Counters of one launch; a sample's mean times its length is what happened in it."""
    table = np.array(flows, dtype=np.float64).reshape(-1, 5)
    moments = np.unique(np.concatenate([table[:, 0], table[:, 1], [0.0, end]]))
    if len(moments) > MAX_SAMPLES + 1:
        moments = np.linspace(0.0, end, MAX_SAMPLES + 1)
    lengths = np.diff(moments)
    columns = [_integral(table[:, 0], table[:, 1], table[:, n], moments) for n in (2, 3, 4)]
    starts, ends = (np.array([getattr(s, n) for s in stays]) for n in ("start", "end"))
    resident = _integral(starts, ends, np.ones(len(stays)), moments)
    hbm, l2, loop, ctas = (np.diff(column) / lengths for column in (*columns, resident))
    return [
        Sample(
            launch=launch,
            start_us=offset + start,
            end_us=offset + stop,
            hbm_bytes_per_us=max(0.0, hbm_rate),
            l2_bytes_per_us=max(0.0, l2_rate),
            ctas=max(0.0, cta),
            loop_ctas=max(0.0, loop_cta),
        )
        for start, stop, hbm_rate, l2_rate, cta, loop_cta in zip(
            moments[:-1].tolist(),
            moments[1:].tolist(),
            hbm.tolist(),
            l2.tolist(),
            ctas.tolist(),
            loop.tolist(),
            strict=True,
        )
    ]


def _integral(starts: Floats, ends: Floats, rates: Floats, moments: Floats) -> Floats:
    """Amount until each moment, of rates that each hold from a start to an end."""
    times = np.concatenate([starts, ends])
    change = np.concatenate([rates, -rates])
    order = np.argsort(times, kind="stable")
    times, change = times[order], change[order]
    rate = np.cumsum(change)
    amount = np.concatenate([[0.0], np.cumsum(rate[:-1] * np.diff(times))]) if len(times) else rate
    found: Floats = np.interp(moments, times, amount) if len(times) else np.zeros(len(moments))
    return found
