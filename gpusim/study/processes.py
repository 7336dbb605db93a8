"""Processes that share out work, and end without a word when the user has had enough."""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, connection, get_context, parent_process
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Self, TypeVar

from gpusim.errors import SpecError

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")

#: Tasks handed out ahead for each process, so that none waits for the next.
AHEAD = 4
#: How often is looked whether processes live while a task takes its time, in seconds.
LOOK_S = 1.0
#: Times in a row that processes may be killed before a task ends.
MAX_DEATHS = 3
#: What keeps linear algebra from starting threads of its own in every process.
ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def cpus() -> int:
    """CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # a container or a batch job has fewer than the machine
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Processes:
    """Processes until the end of the `with` block; an exception, such as Ctrl-C, ends them then.

    One that is killed loses nothing: what all of them had in hand runs again in fresh ones.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._pool = self._fresh()
        self._started: set[BaseProcess] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._end()
        self._pool.shutdown(cancel_futures=kind is not None)

    def map(self, work: Callable[[Task], Outcome], tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Outcomes in the order of the tasks, of which only a few are taken ahead.

        Raises:
            SpecError: if processes are killed again and again.
        """
        pending: deque[tuple[Task, Future[Outcome]]] = deque()
        deaths = 0
        source = iter(tasks)
        while True:
            for task in source:
                pending.append((task, self._submit(work, task)))
                if len(pending) >= AHEAD * self._workers:
                    break
            if not pending:
                return
            try:
                outcome = self._result(pending[0][1])
            except BrokenProcessPool as error:
                deaths += 1
                if deaths > MAX_DEATHS:
                    raise SpecError(
                        f"workers: expected processes that live, found them killed {deaths} times"
                        " in a row (out of memory?)"
                    ) from error
                self._restart()
                pending = deque((task, self._again(work, task, old)) for task, old in pending)
            else:
                deaths = 0
                pending.popleft()
                yield outcome

    def _result(self, future: "Future[Outcome]") -> Outcome:
        """The outcome of a task.

        The pool says by itself that a process has died, unless that died in the middle of its
        answer: the pool then waits for the rest of it.
        """
        while not wait([future], timeout=LOOK_S).done:
            dead = any(process.exitcode is not None for process in self._started)
            if dead and not wait([future], timeout=LOOK_S).done:
                raise BrokenProcessPool("a process died in the middle of its answer")
        return future.result()

    def _again(
        self, work: Callable[[Task], Outcome], task: Task, old: Future[Outcome]
    ) -> Future[Outcome]:
        """What is done stays; the rest runs again."""
        lost = not old.done() or isinstance(old.exception(), BrokenProcessPool)
        return self._submit(work, task) if lost else old

    def _submit(self, work: Callable[[Task], Outcome], task: Task) -> "Future[Outcome]":
        others = set(active_children())
        with _uninterrupted(), _one_thread():
            try:
                future = self._pool.submit(work, task)
            except BrokenProcessPool as error:  # found out when its turn comes
                future = Future()
                future.set_exception(error)
        self._started |= set(active_children()) - others
        return future

    def _fresh(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self._workers, mp_context=get_context("spawn"), initializer=_end_with_parent
        )

    def _restart(self) -> None:
        self._end()
        self._pool.shutdown(cancel_futures=True)
        self._started.clear()
        self._pool = self._fresh()

    def _end(self) -> None:
        """End the processes, also in the middle of an answer or of a task that they read.

        The pool reads answers until the last writer closes its end, and writes tasks until the last
        reader does (before Python 3.11.5); it has one of both itself.
        """
        for process in self._started:
            process.terminate()
        pool: Any = self._pool
        if pool._result_queue is not None:
            pool._result_queue._writer.close()
        if pool._call_queue is not None:
            pool._call_queue._reader.close()


def _end_with_parent() -> None:
    """Let a process end when the one that started it does, even if that was killed."""
    parent = parent_process()
    assert parent is not None  # a worker has one
    sentinel: Any = parent.sentinel

    def watch() -> None:
        connection.wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back until the end of the block; processes that start within never see it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Give processes that start in the block one thread each, unless the user said otherwise."""
    missing = [name for name in ONE_THREAD if name not in os.environ]
    os.environ.update(dict.fromkeys(missing, "1"))
    try:
        yield
    finally:
        for name in missing:
            os.environ.pop(name, None)
