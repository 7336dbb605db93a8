"""A few positive constants fitted to measured times: robust, within bounds, with a prior.

Each constant moves in its logarithm. Least over all constants c is

    sum over rows of rho((ln(predicted / measured) / s)^2) + sum over c of (ln(c / start) / w)^2

with rho(u) = 2 (sqrt(1 + u) - 1), the soft L1: quadratic within the scatter s of the rows and
linear beyond, so that rows which the model cannot represent pull little. The prior holds what the
rows do not see: its width w is a quarter of the logarithm of high / low, so that the bounds, all
that is physically possible, span four standard deviations.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import log, sqrt

import numpy as np
from numpy.typing import NDArray

from gpusim.study.fit_problem import LEAST_SCATTER, NORMAL, Problem
from gpusim.study.fit_problem import spread as spread_of

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
#: Constants in several versions -> ln(predicted / measured), a line a version, a column a row.
Residuals = Callable[[Sequence[Vector]], Matrix]

#: Of a constant's bounds to the width of its prior, both in logarithms.
BOUNDS_PER_WIDTH = 4
#: What is known of a constant after the rows, in widths of the prior, from which on it counts as
#: weakly determined (the rows say as much as the prior) and as determined (eight times as much).
WEAKLY, DETERMINED = sqrt(1 / 2), 1 / 3


class Verdict(StrEnum):
    """What the rows say of a constant."""

    DETERMINED = "determined"
    WEAKLY = "weakly"
    NOT = "not determined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """A constant before the fit: `low` <= `start` <= `high`, all above 0."""

    start: float
    low: float
    high: float

    @property
    def width(self) -> float:
        """Standard deviation of the prior, in the logarithm of the constant."""
        return log(self.high / self.low) / BOUNDS_PER_WIDTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A constant after the fit.

    Attributes:
        value: the constant; `start` where the rows do not determine it.
        error: standard error relative to the value, by rows and prior together.
        verdict: whether the rows determine it.
    """

    value: float
    error: float
    verdict: Verdict


def fit(residuals: Residuals, unknowns: Sequence[Unknown]) -> list[Known]:
    """Fit constants; those that the rows do not determine are left out, and the rest fitted again.

    The scatter of the rows is estimated from what a first fit of all constants leaves; the first
    fit takes that about the median, as what all rows have in common is for the constants to find.
    """
    problem = Problem(
        residuals,
        start=np.array([u.start for u in unknowns]),
        width=np.array([u.width for u in unknowns]),
        low=np.array([u.low for u in unknowns]),
        high=np.array([u.high for u in unknowns]),
    )
    everything = list(range(len(unknowns)))
    last = np.zeros(len(unknowns))
    apart = problem.at(last) - np.median(problem.at(last))
    scatter = max(LEAST_SCATTER, NORMAL * float(np.median(np.abs(apart))))
    first = problem.solve(last, everything, scatter)
    scatter = problem.scatter(first, everything, scatter)
    information = problem.information(first, everything, scatter)
    spread, kept = spread_of(information), determined(information)
    if kept:
        last = problem.solve(np.where(np.isin(everything, kept), first, 0.0), kept, scatter)
        scatter = problem.scatter(last, kept, scatter)
        spread[kept] = spread_of(problem.information(last, kept, scatter))
    return [
        Known(
            value=float(value),
            error=float(s * unknown.width),
            verdict=_verdict(s) if i in kept else Verdict.NOT,
        )
        for i, (value, s, unknown) in enumerate(
            zip(problem.constants(last), spread, unknowns, strict=True)
        )
    ]


def determined(information: Matrix) -> list[int]:
    """Constants that remain when the least determined one is taken out until all are.

    Of two constants that the rows see only together, one stays, and takes the change of both.

    Args:
        information: what the rows say of each, where the prior says 1.
    """
    kept = list(range(len(information)))
    while kept:
        spread = spread_of(information[np.ix_(kept, kept)])
        worst = int(np.argmax(spread))
        if spread[worst] <= WEAKLY:
            break
        del kept[worst]
    return kept


def _verdict(spread: float) -> Verdict:
    return Verdict.DETERMINED if spread <= DETERMINED else Verdict.WEAKLY
