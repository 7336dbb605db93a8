"""Where parts of a study run: in this process, in several, or on a Dask cluster.

All have the same two methods: they hold what they need until the end of a `with` block, and `map`
gives outcomes in the order of the tasks, of which only a few are taken ahead.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol, Self, TypeVar

from gpusim.study.processes import Processes

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")


class Executor(AbstractContextManager["Executor"], Protocol):
    """What all of them can do."""

    def map(self, work: Callable[[Task], Outcome], tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Outcomes in the order of the tasks; `work` is a function of a module."""
        ...


class InProcess:
    """All work in this process."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        pass

    def map(self, work: Callable[[Task], Outcome], tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Outcomes in the order of the tasks."""
        return map(work, tasks)


def executor(workers: int, cluster: str | None = None) -> "InProcess | Processes | Executor":
    """The executor for so many processes, or for the Dask scheduler at an address.

    Raises:
        SpecError: if no scheduler answers there, or Dask is not installed.
    """
    if cluster is not None:
        from gpusim.study.cluster import Cluster

        return Cluster(cluster)
    return Processes(workers) if workers > 1 else InProcess()
