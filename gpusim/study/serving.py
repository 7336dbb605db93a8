"""One replica that serves requests: discrete events in SimPy over steps of known duration.

A step's time comes from outside (`StepTimer`). While nobody joins or leaves the batch, decode steps
in a row are one event: their times are taken as linear between the first and the last one, so that
the cost of a run goes by requests and not by tokens. An arrival that can be admitted ends such a
row at the step boundary that follows it.
"""

import math
from collections.abc import Generator
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import simpy

from gpusim.study.batching import Batching, ReplicaLimits
from gpusim.study.requests import Requests
from gpusim.study.serving_log import Meter, ServingRun, Steps


class StepTimer(Protocol):
    """Duration of one step of a model on its GPUs."""

    def step_us(
        self,
        *,
        decode_batch: int,
        decode_kv_tokens: int,
        prefill_tokens: int,
        prefill_kv_tokens: int,
    ) -> float:
        """Time of a step: decodes with so many cached tokens in all, and one chunk of a prompt."""


def serve(
    requests: Requests,
    rate_per_s: float,
    timer: StepTimer,
    limits: ReplicaLimits,
    *,
    overhead_us: float = 0.0,
    merge: bool = True,
) -> ServingRun:
    """Run one replica until all requests are done.

    Args:
        requests: what arrives, and in which order.
        rate_per_s: the rate at which it arrives at this replica.
        timer: duration of a step.
        limits: sequences, tokens of a step and pages; every request has to fit alone.
        overhead_us: added to each step.
        merge: whether decode steps without a change of the batch are one event.

    Raises:
        ValueError: for a request that has more tokens than the cache.
    """
    if requests.longest_tokens - 1 > limits.kv_pages * limits.page_size:
        raise ValueError("expected a KV cache that takes each request alone")
    replica = _Replica(requests, rate_per_s, timer, limits, overhead_us=overhead_us, merge=merge)
    return replica.run()


class _Replica:
    """The processes of a run: arrivals, and the steps of the replica."""

    def __init__(
        self,
        requests: Requests,
        rate_per_s: float,
        timer: StepTimer,
        limits: ReplicaLimits,
        *,
        overhead_us: float,
        merge: bool,
    ) -> None:
        self._arrivals: list[float] = requests.arrival_us(rate_per_s).tolist()
        self._outputs = requests.output_tokens
        self._batching = Batching(
            requests.prompt_tokens.tolist(), requests.output_tokens.tolist(), limits
        )
        self._timer, self._overhead_us, self._merge = timer, overhead_us, merge
        count = len(requests)
        self._first, self._done = [math.nan] * count, [math.nan] * count
        self._first_counted = requests.first_counted
        self._meter = Meter(self._arrivals[self._first_counted], self._arrivals[-1])
        self._left = count
        self._events = 0
        self._present = 0
        self._changed_us = self._in_system_us = 0.0
        self._env = simpy.Environment()
        self._arrived = self._env.event()

    def run(self) -> ServingRun:
        """Run to the end of the last request."""
        self._env.process(self._arrive())
        self._env.run(until=self._env.process(self._serve()))
        return ServingRun(
            arrival_us=np.array(self._arrivals),
            first_us=np.array(self._first),
            done_us=np.array(self._done),
            output_tokens=self._outputs,
            preemptions=self._batching.preemptions,
            events=self._events,
            in_system_us=self._in_system_us,
            first_counted=self._first_counted,
            meter=self._meter,
        )

    def _arrive(self) -> Generator[simpy.Event, Any, None]:
        for request, at in enumerate(self._arrivals):
            if at > self._env.now:
                yield self._env.timeout(at - self._env.now)
            self._count(1)
            self._batching.waiting.append(request)
            if not self._arrived.triggered:
                self._arrived.succeed()

    def _serve(self) -> Generator[simpy.Event, Any, None]:
        while self._left:
            if self._arrived.triggered:
                self._arrived = self._env.event()
            steps = self._batching.plan(merge=self._merge)
            if steps is None:
                yield self._arrived
                continue
            self._events += 1
            start = self._env.now
            if steps.count == 1:
                yield self._env.timeout(self._time(steps, 0))
                ran = 1
            else:
                ran = yield from self._row(steps)
            self._finish(start, steps, ran)

    def _row(self, steps: Steps) -> Generator[simpy.Event, Any, int]:
        """Run decode steps in a row; return how many ran before somebody came."""
        first, last = self._time(steps, 0), self._time(steps, steps.count - 1)
        slope = (last - first) / (steps.count - 1)

        def until(count: int) -> float:
            return count * first + slope * count * (count - 1) / 2

        start, end = self._env.now, self._env.timeout(until(steps.count))
        if not self._batching.open_to_arrivals:
            yield end
            return steps.count
        yield end | self._arrived
        if end.processed:
            return steps.count
        elapsed = self._env.now - start
        ran = _steps_after(elapsed, first, slope, steps.count)
        yield self._env.timeout(max(0.0, until(ran) - elapsed))
        return ran

    def _time(self, steps: Steps, index: int) -> float:
        """Duration of one of the steps."""
        grown = steps.batch * (index - (steps.count - 1) / 2)
        return self._overhead_us + self._timer.step_us(
            decode_batch=steps.batch,
            decode_kv_tokens=round(steps.decode_kv_tokens + grown),
            prefill_tokens=steps.prefill_tokens,
            prefill_kv_tokens=steps.prefill_kv_tokens,
        )

    def _finish(self, start: float, steps: Steps, ran: int) -> None:
        now = self._env.now
        if ran < steps.count:
            less = steps.batch * (steps.count - ran) / 2
            steps = replace(steps, count=ran, decode_kv_tokens=steps.decode_kv_tokens - less)
        self._meter.add(start, now, steps)
        first, done = self._batching.advance(ran)
        for request in first:
            self._first[request] = now
        for request in done:
            self._done[request] = now
        self._count(-len(done))
        self._left -= len(done)

    def _count(self, change: int) -> None:
        """Requests come or go: the integral over time of those present."""
        self._in_system_us += self._present * (self._env.now - self._changed_us)
        self._changed_us = self._env.now
        self._present += change


def _steps_after(elapsed: float, first: float, slope: float, most: int) -> int:
    """Steps that have begun after some time, when the i-th of them takes first + i slope.

    >>> [_steps_after(t, 10.0, 2.0, 9) for t in (0.0, 10.0, 10.1, 22.0, 22.1)]
    [1, 1, 2, 2, 3]
    """
    half = slope / 2
    linear = first - half
    # half n^2 + linear n = elapsed, in the form that holds for a slope of 0 too
    root = 2 * elapsed / (linear + math.sqrt(max(0.0, linear**2 + 4 * half * elapsed)))
    return min(most, max(1, math.ceil(root - 1e-9)))
