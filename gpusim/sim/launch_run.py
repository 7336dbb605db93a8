"""One launch on the simulated machine: a process per slot that works until nothing is left."""

from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import simpy

from gpusim.errors import SpecError
from gpusim.machine.account import Timing
from gpusim.machine.place import Placed
from gpusim.result import Span
from gpusim.sim import dispatch
from gpusim.sim.stepping import Stepping


class LaunchRun:
    """One launch in the making: a process per slot that pulls work items until none is left."""

    def __init__(self, placed: Placed, *, merge: bool, trace: bool) -> None:
        self.placed = placed
        self.env = simpy.Environment()
        per_sm = placed.occupancy.ctas_per_sm
        self.stepping = Stepping(
            self.env,
            placed.num_sms,
            [0.0, *(placed.rate(n) for n in range(1, per_sm + 1))],
            placed.hbm_bandwidth,
            placed.l2_bandwidth,
        )
        self.merge, self.trace = merge, trace
        self.raw_spans: list[tuple[int, int, int, float, float, float]] = []
        pace = np.where(placed.units > 0, placed.units, 1.0)
        columns = (placed.units, placed.hbm_bytes / pace, placed.l2_bytes / pace)
        self._rows = list(zip(*(column.tolist() for column in columns), strict=True))
        self._residents = [0] * placed.num_sms
        self._busy_since = [0.0] * placed.num_sms
        self._sm_busy_us = 0.0
        self._resident_us = self._fix_up_us = 0.0
        peers = placed.launch.work.peers
        self._peers = None if peers is None else peers.tolist()
        self._first_done = (
            [self.env.event() for _ in range(placed.launch.num_ctas)] if peers is not None else []
        )

    def execute(self) -> None:
        """Run all work items. Slots are filled breadth-first over the SMs, as the hardware does.

        Raises:
            SpecError: if CTAs that wait for others leave them no slot to run on.
        """
        placed = self.placed
        ctas = dispatch.ctas(placed.launch.work, lanes=placed.lanes, merge=self.merge)
        slots = [
            self.env.process(self._slot(slot % placed.num_sms, slot // placed.num_sms, ctas))
            for slot in range(placed.lanes)
        ]
        self.env.run()
        if any(slot.is_alive for slot in slots):
            raise SpecError(
                f"{placed.launch.name}: expected room for more CTAs than {placed.lanes}: one"
                " that runs waits for one that has not started"
            )

    def _slot(
        self, sm: int, slot: int, ctas: Iterator[dispatch.Cta]
    ) -> Generator[simpy.Event, Any, None]:
        """Take CTAs until none is left, and do their items one after another."""
        env, rows, enter = self.env, self._rows, self.stepping.enter
        latency = self.placed.latency_us
        self._enter(sm)
        for worker, items in ctas:
            for first, row, count in items:
                start = env.now
                steps, hbm_step, l2_step = rows[row]
                delay = latency * count
                if steps:
                    yield enter(sm, delay, steps * count, hbm_step, l2_step)
                else:
                    yield env.timeout(delay)
                if self._peers is not None:
                    yield from self._fix_up(worker, self._peers[row])
                if self.trace:
                    self.raw_spans.append((sm, slot, first, start, start + delay, env.now))
                self._resident_us += env.now - start
        self._leave(sm)

    def _fix_up(self, worker: int, peers: int) -> Generator[simpy.Event, Any, None]:
        """Announce a worker's first result; wait for those of its peers and merge them."""
        start = self.env.now
        first = self._first_done[worker]
        if not first.triggered:
            first.succeed()
        for peer in range(worker + 1, worker + peers + 1):
            if not self._first_done[peer].triggered:
                yield self._first_done[peer]
        if peers:
            yield self.env.timeout(peers * self.placed.merge_us)
            self._fix_up_us += self.env.now - start

    def _enter(self, sm: int) -> None:
        if not self._residents[sm]:
            self._busy_since[sm] = self.env.now
        self._residents[sm] += 1

    def _leave(self, sm: int) -> None:
        self._residents[sm] -= 1
        if not self._residents[sm]:
            self._sm_busy_us += self.env.now - self._busy_since[sm]

    def timing(self) -> Timing:
        """Time and its causes, as shares of the slots' time."""
        time = self.env.now
        total = time * self.placed.slots
        stepping = self.stepping.resident_us
        saturated = self.stepping.saturated_us
        unfilled = 1 - self.placed.lanes / self.placed.slots
        shares = {
            "cta_latency": (self._resident_us - stepping - self._fix_up_us) / total,
            "fix_up": self._fix_up_us / total,
            "step": (stepping - sum(saturated.values())) / total,
            **{name: us / total for name, us in saturated.items()},
            "unfilled": unfilled,
            "tail": max(0.0, 1 - unfilled - self._resident_us / total),
        }
        return Timing(
            time_us=time,
            shares=shares,
            limited_us=self.stepping.limited_us,
            resident_us=self._resident_us,
            sm_busy_us=self._sm_busy_us,
        )

    def span(
        self, raw: tuple[int, int, int, float, float, float], launch: int, offset: float
    ) -> Span:
        """A span with times from the start of the call."""
        sm, slot, item, start, loop, end = raw
        return Span(
            launch=launch,
            sm=sm,
            slot=slot,
            item=item,
            start_us=offset + start,
            loop_us=offset + loop,
            end_us=offset + end,
        )
