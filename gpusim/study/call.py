"""An attention call made ready for an engine, and the closed form of many of them at once."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from gpusim.errors import SpecError
from gpusim.result import Result
from gpusim.schedules.approximate import approximation, sampled_flop
from gpusim.schedules.catalogue import build_launches, is_exact, problem_of
from gpusim.schedules.launch import Launch
from gpusim.spec.attention import Attention
from gpusim.spec.gpu import Gpu
from gpusim.spec.workload import check_conditions
from gpusim.study.ablation import ablated
from gpusim.units import MIB

#: Calls that are predicted together, and memory of their work tables, of which as much again is
#: needed a few times on the way. A call by itself may have more.
MAX_CALLS, MAX_TABLE_BYTES = 256, 32 * MIB

Other = TypeVar("Other")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a schedule makes of a problem on a GPU.

    Attributes:
        workload, schedule, options: as they go into the result.
        attention: the problem as it was given.
        problem: as the schedule takes it.
        launches: as the schedule builds them.
        gpu, kept: machine and launches without the effects that are switched off.
        l2, load: state of the machine.
    """

    workload: str
    schedule: str
    options: dict[str, Any]
    attention: Attention
    problem: Attention
    launches: tuple[Launch, ...]
    gpu: Gpu
    kept: tuple[Launch, ...]
    l2: str
    load: str | float

    @property
    def table_bytes(self) -> int:
        """Memory of its work tables: 8 columns of rows; of workers' lists and of workers 2 each."""
        works = [launch.work for launch in self.kept]
        listed = (len(w.lists.rows) + len(w.lists.kind) for w in works if w.lists)
        return 64 * sum(len(work.tiles) for work in works) + 16 * sum(listed)

    def result(self, result: Result) -> Result:
        """An engine's result, with what only the schedule knows."""
        exact = is_exact(self.schedule)
        return replace(
            result,
            options=self.options,
            approximation=approximation(self.attention, self.launches, exact=exact),
            useful_flop=result.useful_flop
            if exact
            else sampled_flop(self.attention, self.launches),
        )


def call_of(
    attention: Attention,
    gpu: Gpu,
    schedule: str,
    options: dict[str, Any],
    *,
    l2: str = "cold",
    load: str | float = "steady",
    workload: str = "",
    without: Sequence[str] = (),
) -> Call:
    """Build the launches; arguments and errors as `gpusim.simulate`."""
    check_conditions(l2, load)
    launches = build_launches(schedule, attention, gpu, options)
    problem = problem_of(schedule, attention)
    machine, kept = ablated(problem, gpu, launches, without)
    return Call(
        workload=workload,
        schedule=schedule,
        options=options,
        attention=attention,
        problem=problem,
        launches=launches,
        gpu=machine,
        kept=kept,
        l2=l2,
        load=load,
    )


def simulate_call(call: Call, *, trace: bool = False) -> Result:
    """Simulate a call; with `trace` keep a span per CTA.

    Raises:
        SpecError: naming the schedule, if a launch does not fit on the GPU or is too large.
    """
    from gpusim.sim.engine import simulate_launches

    try:
        result = simulate_launches(
            call.problem,
            call.gpu,
            call.kept,
            names=(call.workload, call.schedule),
            l2=call.l2,
            load=call.load,
            trace=trace,
        )
    except SpecError as error:
        raise SpecError(f"schedule {call.schedule}: {error}") from error
    return call.result(result)


def run_calls(calls: Iterable[Call], engine: str) -> Iterator[Result]:
    """Results of calls in their order.

    Raises:
        SpecError: of the first that fails.
    """
    if engine == "sim":
        yield from map(simulate_call, calls)
        return
    for found in predicted(calls):
        if not isinstance(found, Result):
            raise found
        yield found


def predicted(items: Iterable[Call | Other]) -> Iterator[Result | Exception | Other]:
    """Predict the calls among such items in closed form, as many at once as memory should hold.

    In their order; each as it would be by itself, and what failed as the error. All else is passed
    on. An error of the items themselves comes after the results of those before it.
    """
    source, more = iter(items), True
    while more:
        batch: list[Call | Other] = []
        size, failure, more = 0, None, False
        try:
            for item in source:
                batch.append(item)
                size += item.table_bytes if isinstance(item, Call) else 0
                if size >= MAX_TABLE_BYTES or len(batch) >= MAX_CALLS:
                    more = True
                    break
        except Exception as error:
            failure = error
        yield from _predicted(batch)
        if failure is not None:
            raise failure


def _predicted(items: list[Call | Other]) -> Iterator[Result | Exception | Other]:
    """Those of a GPU and its state in one go."""
    groups: dict[tuple[int, str, str | float], list[Call]] = {}
    for item in items:
        if isinstance(item, Call):
            groups.setdefault((id(item.gpu), item.l2, item.load), []).append(item)
    found = {key: iter(_column(calls)) for key, calls in groups.items()}
    for item in items:
        if isinstance(item, Call):
            yield next(found[id(item.gpu), item.l2, item.load])
        else:
            yield item


def _column(calls: list[Call]) -> list[Result | Exception]:
    """Of one GPU and state. One that fails is found by halves, so that it spoils no other."""
    from gpusim.analytic.engine import Problem, predict_problems

    first, half = calls[0], len(calls) // 2
    problems = [Problem(c.problem, c.kept, (c.workload, c.schedule)) for c in calls]
    try:
        results = predict_problems(problems, first.gpu, l2=first.l2, load=first.load)
    except Exception as error:  # whoever asked for it decides what it costs
        if half:
            return _column(calls[:half]) + _column(calls[half:])
        if not isinstance(error, SpecError):
            return [error]
        named = SpecError(f"schedule {first.schedule}: {error}")
        named.__cause__ = error
        return [named]
    return [call.result(result) for call, result in zip(calls, results, strict=True)]
