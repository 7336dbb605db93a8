"""Runs the launches of a call on the simulated machine."""

from gpusim.errors import SpecError
from gpusim.launch_result import LaunchResult, Sample, Span
from gpusim.machine.account import launch_results as accounted
from gpusim.machine.account import total_result
from gpusim.machine.place import place_calls
from gpusim.machine.placed import Placed
from gpusim.result import Result
from gpusim.schedules.launch import Launch, footprint
from gpusim.sim.books import Books, timings
from gpusim.sim.launch_run import LaunchRun
from gpusim.sim.run import run_launch
from gpusim.spec.attention import Attention
from gpusim.spec.gpu import Gpu

#: CTAs of a launch that can be simulated one by one; their order is kept in memory.
MAX_CTAS = 2**25
#: Items of a launch that can be traced: each keeps about half a kilobyte.
MAX_TRACED = 2**22


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
        trace: keep a span per work item, and counters over time (and merge nothing).

    Raises:
        SpecError: if a launch does not fit on the GPU, or has too many CTAs.
    """
    results, spans, samples = launch_results(
        gpu, launches, l2=l2, load=load, merge=merge, trace=trace
    )
    return total_result(
        attention,
        gpu,
        results,
        footprint_bytes=footprint(launches),
        names=names,
        engine="sim",
        spans=spans,
        samples=samples,
    )


def launch_results(
    gpu: Gpu,
    launches: tuple[Launch, ...],
    *,
    l2: str = "cold",
    load: str | float = "steady",
    merge: bool = True,
    trace: bool = False,
) -> tuple[tuple[LaunchResult, ...], tuple[Span, ...], tuple[Sample, ...]]:
    """Simulate launches that follow one another, each by itself; arguments as above.

    Raises:
        SpecError: if a launch does not fit on the GPU, or has too many CTAs.
    """
    placement = place_calls((launches,), gpu, load=load, warm=l2 == "warm")
    all_books: list[Books] = []
    spans: list[Span] = []
    samples: list[Sample] = []
    start = 0.0
    for index in range(len(launches)):
        placed = placement.one(index)
        start += placed.gap_us
        _check_size(placed.launch, trace=trace)
        if trace:
            run = LaunchRun(placed, merge=False, trace=True)
            run.execute()
            books = run.books()
            traced = run.traced(index, start)
            spans += traced[0]
            samples += traced[1]
        else:
            books = run_launch(placed, merge=merge)
        all_books.append(books)
        start += books.time_us
    results = accounted(placement, timings(all_books, placement))
    return results, tuple(spans), tuple(samples)


def simulated_us(placed: Placed) -> float:
    """Time of one placed launch.

    Raises:
        SpecError: if it has too many CTAs.
    """
    _check_size(placed.launch, trace=False)
    return run_launch(placed, merge=True).time_us


def _check_size(launch: Launch, *, trace: bool) -> None:
    ctas = launch.work.num_items
    if ctas > MAX_CTAS:
        raise SpecError(
            f"{launch.name}: expected at most {MAX_CTAS} CTAs to simulate, found {ctas};"
            " the analytic engine has no such limit"
        )
    if trace and ctas > MAX_TRACED:
        raise SpecError(
            f"{launch.name}: expected at most {MAX_TRACED} CTAs to trace, found {ctas};"
            " without a trace there may be more"
        )
