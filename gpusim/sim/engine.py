"""Runs the launches of a call on the simulated machine."""

from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import simpy

from gpusim.errors import SpecError
from gpusim.machine.account import Timing, launch_result, total_result
from gpusim.machine.place import Placed, place
from gpusim.result import LaunchResult, Result, Span
from gpusim.schedules.launch import Launch
from gpusim.sim.stepping import Stepping
from gpusim.spec.attention import Attention
from gpusim.spec.gpu import Gpu

#: A slot takes at most this share of a run of equal items at once, divided by the number of slots.
MERGE_SHARE = 0.125
#: CTAs of a launch that can be simulated one by one; their order is kept in memory.
MAX_CTAS = 2**25


def simulate_launches(
    attention: Attention,
    gpu: Gpu,
    launches: tuple[Launch, ...],
    *,
    names: tuple[str, str],
    l2: str = "cold",
    load: str | float = "steady",
    merge: bool = True,
    trace: bool = False,
) -> Result:
    """Simulate the launches one after another and return the result.

    Args:
        attention: the problem, for useful FLOP and compulsory bytes.
        gpu: the machine.
        launches: what a schedule made of the problem.
        names: of the workload and of the schedule.
        l2: 'cold' or 'warm'.
        load: 'benchmark', 'steady' or seconds of continuous load; decides the clock.
        merge: let a slot take several equal items in one go while many are left.
        trace: keep a span per CTA (and merge nothing).

    Raises:
        SpecError: if a launch does not fit on the GPU, or has too many CTAs.
    """
    results: list[LaunchResult] = []
    spans: list[Span] = []
    start = 0.0
    for index, placed in enumerate(place(launches, gpu, load=load, warm=l2 == "warm")):
        start += gpu.launch.graph_us
        _check_size(placed.launch)
        run = _LaunchRun(placed, merge=merge and not trace, trace=trace)
        run.execute()
        results.append(launch_result(placed, run.timing(), gpu))
        if trace:
            spans += [run.span(raw, index, start) for raw in run.raw_spans]
        start += run.env.now
    return total_result(
        attention, gpu, tuple(results), names=names, engine="sim", spans=tuple(spans)
    )


def _check_size(launch: Launch) -> None:
    ctas = launch.work.num_items
    if ctas > MAX_CTAS:
        raise SpecError(
            f"{launch.name}: expected at most {MAX_CTAS} CTAs to simulate, found {ctas};"
            " the analytic engine has no such limit"
        )


class _LaunchRun:
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
        self._resident_us = 0.0

    def execute(self) -> None:
        """Run all work items. Slots are filled breadth-first over the SMs, as the hardware does."""
        placed = self.placed
        items = self._batches()
        used = min(placed.slots, placed.launch.work.num_items)
        for slot in range(used):
            self.env.process(self._slot(slot % placed.num_sms, slot // placed.num_sms, items))
        self.env.run()

    def _batches(self) -> Iterator[tuple[int, int, int]]:
        """(first item, row, items) in dispatch order.

        Runs of equal items are handed out several at a time, fewer and fewer towards their end, so
        that the tail is as fine as without merging.
        """
        order = self.placed.launch.work.order()
        if not self.merge:
            yield from ((i, row, 1) for i, row in enumerate(order.tolist()))
            return
        starts = np.flatnonzero(np.r_[True, order[1:] != order[:-1]])
        lengths = np.diff(np.r_[starts, len(order)])
        share = MERGE_SHARE / self.placed.slots
        for first, row, left in zip(
            starts.tolist(), order[starts].tolist(), lengths.tolist(), strict=True
        ):
            while left:
                taken = max(1, int(left * share))
                yield first, row, taken
                first += taken
                left -= taken

    def _slot(
        self, sm: int, slot: int, items: Iterator[tuple[int, int, int]]
    ) -> Generator[simpy.Event, Any, None]:
        env, rows, enter = self.env, self._rows, self.stepping.enter
        latency = self.placed.latency_us
        self._enter(sm)
        for first, row, count in items:
            start = env.now
            steps, hbm_step, l2_step = rows[row]
            delay = latency * count
            if steps:
                yield enter(sm, delay, steps * count, hbm_step, l2_step)
            else:
                yield env.timeout(delay)
            if self.trace:
                self.raw_spans.append((sm, slot, first, start, start + delay, env.now))
            self._resident_us += env.now - start
        self._leave(sm)

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
        unfilled = max(0.0, 1 - self.placed.launch.work.num_items / self.placed.slots)
        shares = {
            "cta_latency": (self._resident_us - stepping) / total,
            "step": (stepping - sum(saturated.values())) / total,
            **{name: us / total for name, us in saturated.items()},
            "unfilled": unfilled,
            "tail": max(0.0, 1 - unfilled - self._resident_us / total),
        }
        return Timing(
            time_us=time,
            shares=shares,
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
