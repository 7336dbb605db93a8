"""How long a call takes on a CUDA GPU, by the GPU's own events."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

if TYPE_CHECKING:
    import torch

#: Calls before anything is timed: the first compiles, all fill caches.
WARM_UPS = 3
#: A graph that is replayed back to back lasts so long, lest launching it take longer; but it holds
#: no more than so many calls.
GRAPH_US, MOST_CALLS = 50.0, 50
#: Calls that a cold measurement times at the most.
MOST_COLD = 200
US_PER_MS = 1e3


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Time of one call over several samples, in us.

    Attributes:
        median_us: of all samples.
        low_us, high_us: 20th and 80th percentile.
        samples: how many.
        calls: of a graph.
    """

    median_us: float
    low_us: float
    high_us: float
    samples: int
    calls: int

    @classmethod
    def of(cls, samples_us: Sequence[float], *, calls: int = 1) -> Self:
        """Summarise samples.

        >>> Timing.of([1.0, 2.0, 3.0, 4.0, 100.0])
        Timing(median_us=3.0, low_us=1.8, high_us=23.2, samples=5, calls=1)
        """
        low, median, high = np.percentile(samples_us, (20, 50, 80))
        return cls(
            median_us=float(median),
            low_us=round(float(low), 6),
            high_us=round(float(high), 6),
            samples=len(samples_us),
            calls=calls,
        )


def time_call(
    call: Callable[[], object],
    *,
    l2: Literal["warm", "cold"],
    min_ms: float = 10.0,
    repeats: int = 10,
    meanwhile: Callable[[], object] = lambda: None,
) -> Timing:
    """Time a call that only launches kernels, captured in a CUDA graph.

    Warm: the graph, of as many calls as last GRAPH_US, is replayed back to back on the same
    buffers. A sample is the time of N replays by N and the calls, with N such that it lasts
    `min_ms`; there are `repeats` samples.

    Cold: before each single replay of one call, which stands between two events, L2 is filled with
    other data, written and then read, so that the call need not write back what it evicts. There
    are at least `repeats` samples, and as many as last `min_ms`, but no more than MOST_COLD. The
    time contains the start of the graph, a few us.

    `meanwhile` is called once while the last sample is under way.

    Raises:
        ValueError: for another `l2`, or fewer than one sample.
    """
    if l2 not in ("warm", "cold"):
        raise ValueError(f"l2: expected 'warm' or 'cold', found {l2!r}")
    if repeats < 1:
        raise ValueError(f"repeats: expected 1 or more, found {repeats}")
    _warm_up(call)
    graph = _captured(call, 1)
    once_us = _replays_us(graph, WARM_UPS)
    if l2 == "cold":
        wanted = max(repeats, replays(once_us, min_ms))
        return Timing.of(_cold_us(graph, min(wanted, MOST_COLD), meanwhile))
    calls = 1
    while once_us < GRAPH_US and calls < MOST_CALLS:
        calls = more_calls(calls, once_us)
        graph = _captured(call, calls)
        once_us = _replays_us(graph, WARM_UPS)
    count = replays(once_us, min_ms)
    samples = [_replays_us(graph, count) for _ in range(repeats - 1)]
    samples.append(_replays_us(graph, count, meanwhile))
    return Timing.of([us / calls for us in samples], calls=calls)


def more_calls(calls: int, graph_us: float) -> int:
    """Calls that last GRAPH_US, if so many last `graph_us`; launching may be a part of that.

    >>> more_calls(1, 8.0), more_calls(7, 32.0), more_calls(1, 0.0)
    (7, 11, 50)
    """
    return min(MOST_CALLS, math.ceil(calls * GRAPH_US / max(graph_us, 1.0)))


def replays(once_us: float, min_ms: float) -> int:
    """Replays that last `min_ms`.

    >>> replays(50.0, 10.0)
    200
    """
    return max(1, round(min_ms * US_PER_MS / max(once_us, 1.0)))


def event_pair() -> tuple["torch.cuda.Event", "torch.cuda.Event"]:
    """Two events that keep the time."""
    import torch

    first, last = (
        torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        for _ in range(2)
    )
    return first, last


def elapsed_us(first: "torch.cuda.Event", last: "torch.cuda.Event") -> float:
    """Time between two events that both have passed."""
    return float(first.elapsed_time(last)) * US_PER_MS


def _warm_up(call: Callable[[], object]) -> None:
    """Call it on a stream aside, as capturing wants it."""
    import torch

    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UPS):
            call()
    torch.cuda.current_stream().wait_stream(aside)


def _captured(call: Callable[[], object], calls: int) -> "torch.cuda.CUDAGraph":
    """The kernels that so many calls launch one after another, replayed once."""
    import torch

    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(calls):
            call()
    graph.replay()
    torch.cuda.synchronize()
    return graph


def _replays_us(
    graph: "torch.cuda.CUDAGraph", count: int, meanwhile: Callable[[], object] = lambda: None
) -> float:
    """Time of one of `count` replays, one right after the other."""
    first, last = event_pair()
    first.record()
    for _ in range(count):
        graph.replay()
    last.record()
    meanwhile()
    last.synchronize()
    return elapsed_us(first, last) / count


def _cold_us(
    graph: "torch.cuda.CUDAGraph", count: int, meanwhile: Callable[[], object]
) -> list[float]:
    """Times of `count` replays, each with an L2 that holds nothing of the call's."""
    import torch

    l2_bytes = torch.cuda.get_device_properties(torch.cuda.current_device()).L2_cache_size
    other = torch.zeros(2, 2 * l2_bytes // 4, dtype=torch.float32, device="cuda")
    pairs = [event_pair() for _ in range(count)]
    for first, last in pairs:
        other[0].zero_()
        other[1].sum()
        first.record()
        graph.replay()
        last.record()
    meanwhile()
    torch.cuda.synchronize()
    return [elapsed_us(first, last) for first, last in pairs]
