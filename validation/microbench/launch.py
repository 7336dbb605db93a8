"""Launches: what each kernel of a row costs when none of them does anything.

`launch.stream_us` and `launch.graph_us` are slopes: time from the first to the last of n empty
kernels over n. In the stream they are queued behind a kernel that is still running, so that the
slope is the GPU's own; how long the host takes for one, from Python, is shown beside it. What
`launch.shortest_kernel_us` means is what a profiler reports as the duration of an empty kernel.
"""

from collections.abc import Callable, Sequence
from time import perf_counter

import numpy as np

from gpusim.spec.gpu import Gpu
from gpusim.units import US_PER_S
from validation.microbench.benchmark import Benchmark, Reading
from validation.timing import elapsed_us, event_pair, time_call

#: Empty kernels in a row. A stream holds about a thousand launches before the host has to wait; a
#: row of a graph lasts long enough to be its only one, so that the graph's own cost is no slope.
IN_STREAM, IN_GRAPH = (50, 100, 200, 400), (100, 200, 400, 800)
#: Turns of the kernel that holds the stream, at first; doubled until it outlasts all launches.
HOLD_TURNS, MOST_HOLDS = 4000, 8
PROFILED = 200


def slope_us(counts: Sequence[int], times_us: Sequence[float]) -> float:
    """Time per kernel: slope of the straight line through times of rows of kernels.

    >>> round(slope_us([10, 20, 40], [25.0, 45.0, 85.0]), 6)
    2.0
    """
    return float(np.polyfit(counts, times_us, 1)[0])


def readings(
    stream_us: Sequence[float],
    graph_us: Sequence[float],
    durations_us: Sequence[float],
    host_us: float,
) -> list[Reading]:
    """From times of IN_STREAM and IN_GRAPH kernels, and durations by the profiler, if there are."""
    found = [
        Reading(
            name="launch.stream_us",
            value=slope_us(IN_STREAM, stream_us),
            how=f"slope over {IN_STREAM[0]} to {IN_STREAM[-1]} empty kernels, queued ahead",
        ),
        Reading(
            name="launch.graph_us",
            value=slope_us(IN_GRAPH, graph_us),
            how=f"slope over {IN_GRAPH[0]} to {IN_GRAPH[-1]} empty kernels",
        ),
        Reading(name="host, us per launch", value=host_us, how="Triton's launch from Python"),
    ]
    if durations_us:
        shortest = float(np.median(durations_us))
        how = f"median of {len(durations_us)} in torch.profiler"
        found.append(Reading(name="launch.shortest_kernel_us", value=shortest, how=how))
    return found


def measure(_: Gpu, quick: bool) -> list[Reading]:
    """Rows in a stream and in graphs, then single kernels under the profiler."""
    from validation.microbench.kernels.empty import empty

    def row(count: int) -> Callable[[], None]:
        def launch() -> None:
            for _ in range(count):
                empty()

        return launch

    empty()
    host_us: list[float] = []
    stream_us = [_queued_us(row(n), n, host_us, repeats=3 if quick else 9) for n in IN_STREAM]
    graph_us = [time_call(row(n), l2="warm", repeats=5).median_us for n in IN_GRAPH]
    durations = _durations_us(row(PROFILED), "empty_kernel")
    return readings(stream_us, graph_us, durations, float(np.median(host_us)))


def _queued_us(
    launch: Callable[[], None], count: int, host_us: list[float], *, repeats: int
) -> float:
    """Median time of a row that waits in the stream, complete, behind a longer kernel.

    Raises:
        RuntimeError: if no kernel is long enough for the host to launch the row meanwhile.
    """
    import torch

    from validation.microbench.kernels.chain import chain

    out = torch.empty(1, device="cuda")
    hold, samples = HOLD_TURNS, list[float]()
    for _ in range(repeats + MOST_HOLDS):
        first, last = event_pair()
        chain(out, "exp2", turns=hold)
        first.record()
        begin = perf_counter()
        launch()
        host_us.append((perf_counter() - begin) / count * US_PER_S)
        last.record()
        held = not first.query()  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
        if held:
            samples.append(elapsed_us(first, last))
        else:
            hold *= 2
        if len(samples) == repeats:
            return float(np.median(samples))
    raise RuntimeError(f"launched {count} kernels too slowly to queue them behind another")


def _durations_us(launch: Callable[[], None], kernel: str) -> list[float]:
    """Durations of a kernel's launches, as CUPTI reports them; none where it may not look."""
    import torch

    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as trace:
        launch()
        torch.cuda.synchronize()
    return [
        float(event.time_range.elapsed_us()) for event in trace.events() if event.name == kernel
    ]


LAUNCH = Benchmark(
    name="launch",
    fields=lambda _: ("launch.stream_us", "launch.graph_us", "launch.shortest_kernel_us"),
    plan=lambda *_: (
        f"{IN_STREAM[0]} to {IN_STREAM[-1]} empty kernels in a stream, {IN_GRAPH[0]} to "
        f"{IN_GRAPH[-1]} in a CUDA graph, {PROFILED} under the profiler"
    ),
    measure=measure,
)
