"""The runs of a plan, shared out over processes; outcomes do not depend on how many there are."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

from gpusim.errors import SpecError
from gpusim.spec.model import Model
from gpusim.spec.plan import Plan, Targets
from gpusim.study.plan_candidates import Candidate, TimerOf, replica_of
from gpusim.study.processes import Processes
from gpusim.study.requests import Requests
from gpusim.study.serving_curve import LOADS, Point, Replica, capacity_rps, point

Progress = Callable[[int, int], None]
Task = TypeVar("Task")
Outcome = TypeVar("Outcome")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A replica and an estimate of what it can serve; or why it cannot run."""

    replica: Replica | None = None
    capacity_rps: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Preparation:
    plan: Plan
    model: Model
    candidate: Candidate
    requests: Requests
    timer_of: TimerOf


@dataclass(frozen=True, slots=True, kw_only=True)
class PointTask:
    """One point of a curve to simulate."""

    replica: Replica
    requests: Requests
    rate_rps: float
    load: float
    targets: Targets


class Runner:
    """Runs tasks in this process or in several, and tells how far it is."""

    def __init__(self, workers: int, progress: Progress | None) -> None:
        self._processes = Processes(workers) if workers > 1 else None
        self._progress = progress
        self._ended = self._total = 0

    @property
    def within(self) -> AbstractContextManager[object]:
        """Processes that run as long as this."""
        return self._processes or nullcontext()

    def expect(self, tasks: int) -> None:
        """So many more tasks will come."""
        self._total += tasks
        self._tell()

    def prepare(
        self,
        plan: Plan,
        model: Model,
        found: Sequence[Candidate],
        requests: Requests,
        timer_of: TimerOf,
    ) -> list[Prepared]:
        """Replicas of the configurations, in their order."""
        tasks = [
            _Preparation(
                plan=plan, model=model, candidate=one, requests=requests, timer_of=timer_of
            )
            for one in found
        ]
        return list(self._map(_prepare, tasks))

    def points(self, tasks: Sequence[PointTask]) -> list[Point]:
        """Points in the order of their tasks."""
        return list(self._map(_point, tasks))

    def _map(self, work: Callable[[Task], Outcome], tasks: Iterable[Task]) -> Iterator[Outcome]:
        outcomes = self._processes.map(work, tasks) if self._processes else map(work, tasks)
        for outcome in outcomes:
            self._ended += 1
            self._tell()
            yield outcome

    def _tell(self) -> None:
        if self._progress:
            self._progress(self._ended, self._total)


def curve_tasks(prepared: Prepared, requests: Requests, targets: Targets) -> list[PointTask]:
    """The points of a configuration's curve: the grid of rates; none if it cannot run."""
    if prepared.replica is None:
        return []
    return [
        PointTask(
            replica=prepared.replica,
            requests=requests,
            rate_rps=load * prepared.capacity_rps,
            load=load,
            targets=targets,
        )
        for load in LOADS
    ]


def _prepare(task: _Preparation) -> Prepared:
    if task.candidate.reason:
        return Prepared(reason=task.candidate.reason)
    try:
        replica = replica_of(task.plan, task.model, task.candidate, task.timer_of)
        return Prepared(replica=replica, capacity_rps=capacity_rps(task.requests, replica))
    except SpecError as error:
        return Prepared(reason=str(error))


def _point(task: PointTask) -> Point:
    return point(task.replica, task.requests, task.rate_rps, task.load, task.targets)
