"""Measures one case after another, each in the process of its kernel, and keeps the rows."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from validation.measuring.cases import Case, Cases
from validation.measuring.reply import LeftOut, Measured
from validation.measuring.worker import Worker
from validation.progress import Telling

INTERRUPTED = "interrupted"


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a run has done.

    Attributes:
        measured: rows by kernel.
        left_out: by kernel and reason.
        failures: why a kernel is not measured any further.
        stopped: why the run ended before its last case; else empty.
    """

    measured: Counter[str] = field(default_factory=Counter)
    left_out: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)
    stopped: str = ""

    @property
    def status(self) -> int:
        """Exit status of the program."""
        return 130 if self.stopped == INTERRUPTED else 1 if self.failures else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run.

    Attributes:
        start: a new worker, for one kernel.
        keep: writes a row to the disk.
        tell: told each kernel before it is measured, and each failure.
        limit_s: no case begins after so many seconds.
    """

    start: Callable[[], Worker]
    keep: Callable[[Case, Measured], None]
    tell: Telling
    limit_s: float | None = None

    def measure_all(self, cases: Cases) -> Outcome:
        """Measure every case in order, or until the time is up; of a kernel that fails no more."""
        outcome, begin = Outcome(left_out=cases.left_out.copy()), time.monotonic()
        workers: dict[str, Worker] = {}
        try:
            for kernel in dict.fromkeys(case.kernel for case in cases.cases):
                workers[kernel] = self.start()
            for kernel, worker in list(workers.items()):
                # All, before the first is measured: a process that begins would disturb it.
                if failed := worker.failed_to_begin():
                    self._fail(kernel, failed.reason, workers, outcome)
            for done, case in enumerate(cases.cases):
                if outcome.stopped:
                    break
                if self.limit_s is not None and time.monotonic() - begin > self.limit_s:
                    outcome.stopped = f"the time is up, {len(cases.cases) - done} shapes not tried"
                    break
                self.tell.begin(case.kernel)
                self._measure(case, workers, outcome)
        except KeyboardInterrupt:
            outcome.stopped = INTERRUPTED
        finally:
            for worker in workers.values():
                worker.close()
        return outcome

    def _measure(self, case: Case, workers: dict[str, Worker], outcome: Outcome) -> None:
        """Measure a case and keep its row, or say in the outcome why there is none."""
        kernel = case.kernel
        if kernel in outcome.failures:
            outcome.left_out[kernel, "the kernel failed"] += 1
            return
        reply = workers[kernel].measure(case)
        if isinstance(reply, Measured):
            self.keep(case, reply)
            outcome.measured[kernel] += 1
        elif isinstance(reply, LeftOut):
            outcome.left_out[kernel, reply.reason] += 1
        else:
            outcome.left_out[kernel, "the kernel failed"] += 1
            self._fail(kernel, f"{case}: {reply.reason}", workers, outcome)

    def _fail(self, kernel: str, why: str, workers: dict[str, Worker], outcome: Outcome) -> None:
        """End a kernel's process; the run too, if the process lives on: it may hold the GPU."""
        outcome.failures[kernel] = why
        self.tell.say(f"failed: {kernel}: {why}")
        if not workers.pop(kernel).close():
            outcome.stopped = f"the process of {kernel} cannot be ended"
