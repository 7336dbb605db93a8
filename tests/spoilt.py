"""Kernels that go wrong: calls whose outputs are changed on their way out."""

from collections.abc import Callable, Mapping
from typing import Any

import interpreter  # noqa: F401  # skips where Triton is absent

from validation.kernels.problem import Problem
from validation.measuring import launching
from validation.measuring.launching import Call, Output

CALLS = dict(launching.CALLS)


def wrong(schedule: str, spoil: Callable[[Output], Output]) -> dict[str, Any]:
    """Calls of which those of a schedule give something else."""

    def made(given: Problem, options: Mapping[str, int], seed: int) -> Call:
        call = CALLS[schedule](given, options, seed)
        return lambda: spoil(call())

    return {**CALLS, schedule: made}


def spoilt(found: Output, *, factor: float = 1.0, lse: float = 0.0) -> Output:
    """An output that is a little too large, a log-sum-exp that is a little off."""
    o, statistic = launching.output_of(found)
    return o * factor if statistic is None else (o * factor, statistic + lse)
