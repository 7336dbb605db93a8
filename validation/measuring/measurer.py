"""Measures a case: checks the kernel, then times it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from gpusim.spec.attention import Attention
from gpusim.spec.gpu import Gpu
from validation.device import Device
from validation.kernels.problem import Problem, random_problem
from validation.measuring import shapes
from validation.measuring.bench import Bench, cuda_bench
from validation.measuring.cases import L2, Case, options_of
from validation.measuring.checks import WrongResultError, check_kernel, check_outputs, few_rows
from validation.measuring.launching import call_of
from validation.measuring.reply import LeftOut, Measured, Reply
from validation.measuring.worker import Measure
from validation.timing import Timing

HOW = {"warm": "graph replay", "cold": "graph replay, flushed L2"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurer:
    """Measures cases on a machine, and remembers what is checked whole."""

    bench: Bench
    gpu: Gpu
    l2: L2
    checked: set[tuple[object, ...]] = field(default_factory=set)

    def measure(self, case: Case) -> Reply:
        """The row's time, or that it does not fit.

        Raises:
            Exception: whatever the kernel, Triton or Torch raise: the kernel has failed.
        """
        try:
            return self._measured(case)
        except torch.OutOfMemoryError:
            return LeftOut("does not fit in the memory that is free")
        finally:
            self.bench.settle()

    def _measured(self, case: Case) -> Measured:
        self._check_once(case)
        problem = self._problem(case.attention)
        call = call_of(case.kernel, problem, case.options)
        check_outputs(call(), problem, few_rows(problem), case.options)
        timing, clock = self.bench.time(call, self.l2)
        measured_us = round(timing.median_us, 3)
        return Measured(measured_us=measured_us, source=self._source(case, timing, clock))

    def _check_once(self, case: Case) -> None:
        """Check every output of the kernel on a moderate problem."""
        if case.checked_as in self.checked:
            return
        window = case.attention.window and shapes.CHECKED_WINDOW
        changes = {"window": window, "sequences": (shapes.CHECKED[case.phase],)}
        attention = Attention(**case.attention.model_dump() | changes)
        with _adding(" (on the problem that is checked whole)"):
            options = options_of(case.kernel, attention, self.gpu)
            check_kernel(case.kernel, self._problem(attention), options)
        self.checked.add(case.checked_as)

    def _problem(self, attention: Attention) -> Problem:
        return random_problem(attention, device=self.bench.place)

    def _source(self, case: Case, timing: Timing, clock: str) -> str:
        device = self.bench.device
        options = " ".join(f"{name}={value}" for name, value in case.options.items())
        calls = f" of {timing.calls} calls" if timing.calls > 1 else ""
        return (
            f"validation/measure, {device.day}, {device.name}, driver {device.driver}, "
            f"SM clock {clock}, torch {device.torch}, triton {device.triton}, {HOW[self.l2]}{calls}"
            f", {timing.samples} samples, 20th to 80th percentile {timing.low_us:.3f} to "
            f"{timing.high_us:.3f} us, {options}"
        )


def cuda_measure(device: Device, gpu: Gpu, l2: L2) -> Measure:
    """Measures on the CUDA GPU at hand."""
    return Measurer(bench=cuda_bench(device), gpu=gpu, l2=l2).measure


@contextmanager
def _adding(text: str) -> Iterator[None]:
    """Say more of a result that is wrong."""
    try:
        yield
    except WrongResultError as error:
        raise WrongResultError(f"{error}{text}") from error
