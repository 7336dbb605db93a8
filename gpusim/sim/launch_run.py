"""One launch on the simulated machine: a process per slot that works until nothing is left.

It can be traced. What is not goes through `loop`, which says the same, faster.
"""

from collections.abc import Generator
from itertools import pairwise
from typing import Any

import simpy

from gpusim.errors import SpecError
from gpusim.launch_result import Sample, Span
from gpusim.machine.placed import Placed
from gpusim.sim.books import Books
from gpusim.sim.dispatch import dispatch
from gpusim.sim.stepping import Stepping
from gpusim.sim.watch import Stay, WatchedStepping, samples, spans


class LaunchRun:
    """One launch in the making: a process per slot that pulls work items until none is left."""

    def __init__(self, placed: Placed, *, merge: bool, trace: bool) -> None:
        self.placed = placed
        self.env = simpy.Environment()
        self.stepping = (WatchedStepping if trace else Stepping)(
            self.env,
            placed.num_sms,
            placed.rates.tolist(),
            placed.hbm_bandwidth,
            placed.l2_bandwidth,
        )
        self.trace = trace
        self.stays: list[Stay] = []
        work = dispatch(placed, merge=merge)
        rows = (work.steps.tolist(), work.hbm_step.tolist(), work.l2_step.tolist())
        self._rows = list(zip(*rows, strict=True))
        batches = (work.item.tolist(), work.row.tolist(), work.count.tolist())
        self._batches = list(zip(*batches, strict=True))
        first = work.cta_first.tolist()
        # One iterator for all slots: each takes the next CTA.
        self._ctas = enumerate(pairwise(first))
        self._ramp_us = placed.ramp_us
        # Slots start together and are never empty until their last CTA ends.
        self._sm_end = [0.0] * placed.num_sms
        self._resident_us = self._fix_up_us = 0.0
        self._fixing, self._loops_idle_us, self._fix_up_limits_us = 0, 0.0, 0.0
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
        slots = [
            self.env.process(self._slot(slot % placed.num_sms, slot // placed.num_sms))
            for slot in range(placed.lanes)
        ]
        self.env.run()
        if any(slot.is_alive for slot in slots):
            raise no_room(placed)

    def _slot(self, sm: int, slot: int) -> Generator[simpy.Event, Any, None]:
        """Take CTAs until none is left, and do their items one after another."""
        env, rows, enter = self.env, self._rows, self.stepping.enter
        latency, peers = self.placed.latency_us, self._peers
        start, ramp = env.now, self._ramp_us
        for worker, (begin, stop) in self._ctas:
            for first, row, count in self._batches[begin:stop]:
                steps, hbm_step, l2_step = rows[row]
                delay = latency * count + ramp
                ramp = 0.0
                if steps:
                    yield enter(sm, delay, steps * count, hbm_step, l2_step)
                else:
                    yield env.timeout(delay)
                wait = None
                if peers is not None:
                    wait = yield from self._fix_up(worker, peers[row])
                if self.trace:
                    end = env.now
                    loop, wait = start + delay, end if wait is None else wait
                    self.stays.append(Stay(sm, slot, first, row, start, loop, wait, end))
                    start = end
        self._resident_us += env.now
        self._sm_end[sm] = env.now

    def _fix_up(self, worker: int, peers: int) -> Generator[simpy.Event, Any, float]:
        """Announce a worker's first result; wait for those of its peers and merge them.

        Returns when that began.
        """
        first = self._first_done[worker]
        if not first.triggered:
            first.succeed()
        start = self.env.now
        if not peers:
            return start
        if not self._fixing:
            self._loops_idle_us = self.stepping.idle_us()
        self._fixing += 1
        for peer in range(worker + 1, worker + peers + 1):
            if not self._first_done[peer].triggered:
                yield self._first_done[peer]
        yield self.env.timeout(peers * self.placed.merge_us)
        self._fix_up_us += self.env.now - start
        self._fixing -= 1
        if not self._fixing:
            self._fix_up_limits_us += self.stepping.idle_us() - self._loops_idle_us
        return start

    def books(self) -> Books:
        """Sums over the run."""
        stepping = self.stepping
        full, limits = stepping.saturated_us, stepping.limited_us
        return Books(
            time_us=self.env.now,
            resident_us=self._resident_us,
            sm_busy_us=sum(self._sm_end),
            loop_us=stepping.resident_us,
            full_hbm_us=full["hbm"],
            full_l2_us=full["l2"],
            limit_hbm_us=limits["hbm"],
            limit_l2_us=limits["l2"],
            limit_step_us=limits["step"],
            fix_up_us=self._fix_up_us,
            limit_fix_up_us=self._fix_up_limits_us,
        )

    def traced(self, launch: int, offset: float) -> tuple[list[Span], list[Sample]]:
        """Spans and samples of a traced run, with times from the start of the call."""
        assert isinstance(self.stepping, WatchedStepping)
        found = spans(self.stays, self.placed, launch, offset)
        return found, samples(self.stepping.flows, self.stays, self.env.now, launch, offset)


def no_room(placed: Placed) -> SpecError:
    """What to raise where CTAs that wait for others leave them no slot to run on."""
    return SpecError(
        f"{placed.launch.name}: expected room for more CTAs than {placed.lanes}: one"
        " that runs waits for one that has not started"
    )
