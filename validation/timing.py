"""How long a call takes on a CUDA GPU, by the GPU's own events."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from gpusim.units import US_PER_S

if TYPE_CHECKING:
    import torch

#: Calls before anything is timed: the first compiles, all fill caches.
WARM_UPS = 3
#: Calls that a cold measurement times at the most.
MOST_COLD = 200
US_PER_MS = 1e3


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Time of one call over several samples, in us: median, 20th and 80th percentile."""

    median_us: float
    low_us: float
    high_us: float
    samples: int

    @classmethod
    def of(cls, samples_us: Sequence[float]) -> Self:
        """Summarise samples.

        >>> Timing.of([1.0, 2.0, 3.0, 4.0, 100.0])
        Timing(median_us=3.0, low_us=1.8, high_us=23.2, samples=5)
        """
        low, median, high = np.percentile(samples_us, (20, 50, 80))
        return cls(
            median_us=float(median),
            low_us=round(float(low), 6),
            high_us=round(float(high), 6),
            samples=len(samples_us),
        )


def time_call(
    call: Callable[[], object],
    *,
    l2: Literal["warm", "cold"],
    min_ms: float = 10.0,
    repeats: int = 10,
) -> Timing:
    """Time a call that only launches kernels, captured once in a CUDA graph.

    Warm: the graph is replayed back to back on the same buffers. A sample is N replays between two
    events over N, with N such that it lasts `min_ms`; there are `repeats` samples. The cost of
    launching a graph counts where it is longer than the replay.

    Cold: before each single replay, which stands between two events, L2 is filled with other data,
    written and then read, so that the call need not write back what it evicts. There are at least
    `repeats` samples, and as many as last `min_ms`, but no more than MOST_COLD. The time contains
    the start of the graph, a few us.

    Raises:
        ValueError: for another `l2`, or fewer than one sample.
    """
    if l2 not in ("warm", "cold"):
        raise ValueError(f"l2: expected 'warm' or 'cold', found {l2!r}")
    if repeats < 1:
        raise ValueError(f"repeats: expected 1 or more, found {repeats}")
    graph = _captured(call)
    once_us = _replays_us(graph, WARM_UPS)
    wanted = max(1, round(min_ms * US_PER_MS / max(once_us, 1 / US_PER_S)))
    if l2 == "cold":
        return Timing.of(_cold_us(graph, min(max(repeats, wanted), MOST_COLD)))
    return Timing.of([_replays_us(graph, wanted) for _ in range(repeats)])


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


def _captured(call: Callable[[], object]) -> "torch.cuda.CUDAGraph":
    """The kernels that the call launches, after a few calls aside, as capturing wants it."""
    import torch

    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UPS):
            call()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    graph.replay()
    torch.cuda.synchronize()
    return graph


def _replays_us(graph: "torch.cuda.CUDAGraph", count: int) -> float:
    """Time of one of `count` replays, one right after the other."""
    first, last = event_pair()
    first.record()
    for _ in range(count):
        graph.replay()
    last.record()
    last.synchronize()
    return elapsed_us(first, last) / count


def _cold_us(graph: "torch.cuda.CUDAGraph", count: int) -> list[float]:
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
    torch.cuda.synchronize()
    return [elapsed_us(first, last) for first, last in pairs]
