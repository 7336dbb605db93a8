"""Measures one case after another: checks, times, writes a row."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from triton.errors import TritonError

from gpusim.spec.attention import Attention
from gpusim.spec.gpu import Gpu
from gpusim.study.measured import MeasuredRow
from validation.kernels.problem import Problem, random_problem
from validation.measuring import shapes
from validation.measuring.bench import Bench, GpuLostError, patience
from validation.measuring.cases import L2, Case, Cases, options_of
from validation.measuring.checks import WrongResultError, check_kernel, check_outputs, few_rows
from validation.measuring.launching import call_of
from validation.measuring.rows import add_row
from validation.timing import Timing

INTERRUPTED = "interrupted"
HOW = {"warm": "graph replay", "cold": "graph replay, flushed L2"}


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
    """A run on a machine, into a file."""

    bench: Bench
    gpu: Gpu
    l2: L2
    path: Path
    checked: set[tuple[object, ...]] = field(default_factory=set)

    def measure_all(
        self, cases: Cases, *, limit_s: float | None, step: Callable[[Case], None]
    ) -> Outcome:
        """Measure every case, or until the time is up; of a kernel that fails no more.

        Args:
            cases: in order.
            limit_s: nothing is begun after so many seconds.
            step: told each case before it is measured.
        """
        outcome, begin = Outcome(left_out=cases.left_out.copy()), time.monotonic()
        for done, case in enumerate(cases.cases):
            if limit_s is not None and time.monotonic() - begin > limit_s:
                outcome.stopped = f"the time is up, {len(cases.cases) - done} shapes not tried"
                break
            step(case)
            if case.kernel in outcome.failures:
                outcome.left_out[case.kernel, "the kernel failed"] += 1
                continue
            try:
                with patience(case):
                    self._add(case, outcome)
            except GpuLostError as error:
                outcome.stopped = "the GPU answers no more"
                outcome.failures.setdefault(case.kernel, f"{_named(case)}: {error}")
                break
            except KeyboardInterrupt:
                outcome.stopped = INTERRUPTED
                break
        return outcome

    def _add(self, case: Case, outcome: Outcome) -> None:
        """Measure a case and write its row, or say in the outcome why there is none."""
        try:
            row = self._measured(case)
        except torch.OutOfMemoryError:
            outcome.left_out[case.kernel, "does not fit in the memory that is free"] += 1
        except (WrongResultError, TritonError, RuntimeError, ValueError) as error:
            lines = str(error).splitlines() or [type(error).__name__]
            outcome.failures[case.kernel] = f"{_named(case)}: {lines[0]}"
            outcome.left_out[case.kernel, "the kernel failed"] += 1
        else:
            add_row(self.path, row)
            outcome.measured[case.kernel] += 1
        self.bench.settle()

    def _measured(self, case: Case) -> MeasuredRow:
        self._check_once(case)
        problem = self._problem(case.attention)
        call = call_of(case.kernel, problem, case.options)
        check_outputs(call(), problem, few_rows(problem), case.options)
        timing, clock = self.bench.timed(call, self.l2)
        return case.row(
            self.gpu,
            self.l2,
            measured_us=round(timing.median_us, 3),
            source=self._source(case, timing, clock),
        )

    def _check_once(self, case: Case) -> None:
        """Check every output of the kernel on a moderate problem, once a head size and mask."""
        key = (case.kernel, case.attention.head_dim, case.mask)
        if key in self.checked:
            return
        window = case.attention.window and shapes.CHECKED_WINDOW
        changes = {"window": window, "sequences": (shapes.CHECKED[case.phase],)}
        attention = Attention(**case.attention.model_dump() | changes)
        with _adding(" (on the problem that is checked whole)"):
            options = options_of(case.kernel, attention, self.gpu)
            check_kernel(case.kernel, self._problem(attention), options)
        self.checked.add(key)

    def _problem(self, attention: Attention) -> Problem:
        return random_problem(attention, device=self.bench.place)

    def _source(self, case: Case, timing: Timing, clock: str) -> str:
        device = self.bench.device
        options = " ".join(f"{name}={value}" for name, value in case.options.items())
        return (
            f"validation/measure, {device.day}, {device.name}, driver {device.driver}, "
            f"SM clock {clock}, torch {device.torch}, triton {device.triton}, {HOW[self.l2]}, "
            f"{timing.samples} samples, 20th to 80th percentile {timing.low_us:.3f} to "
            f"{timing.high_us:.3f} us, {options}"
        )


def _named(case: Case) -> str:
    """A case in words."""
    attention, lengths = case.attention, case.attention.sequences[0]
    return (
        f"{case.phase}, {lengths.count} x {lengths.q_len} queries on {lengths.kv_len} keys, "
        f"{attention.q_heads}/{attention.kv_heads} heads of {attention.head_dim}"
    )


@contextmanager
def _adding(text: str) -> Iterator[None]:
    """Say more of a result that is wrong."""
    try:
        yield
    except WrongResultError as error:
        raise WrongResultError(f"{error}{text}") from error
