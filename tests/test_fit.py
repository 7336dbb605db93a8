"""Fits whose answer a hand can calculate: rows that see constants by powers of them."""

from collections.abc import Sequence
from math import exp, log, sqrt

import numpy as np
import pytest
from numpy.typing import NDArray

from gpusim.study.fit import Known, Matrix, Residuals, Unknown, Vector, Verdict, determined, fit

#: Bounds of a prior as wide as one in the logarithm.
WIDE = Unknown(start=1.0, low=exp(-2), high=exp(2))


def power_law(powers: Sequence[Sequence[float]], measured: Sequence[float]) -> Residuals:
    """Rows that take the product of constants, each to the row's power of it."""
    law: NDArray[np.float64] = np.array(powers)

    def residuals(versions: Sequence[Vector]) -> Matrix:
        found: Matrix = np.log(np.array(versions)) @ law.T - np.log(measured)
        return found

    return residuals


def test_rows_outweigh_the_prior_by_their_number_and_scatter() -> None:
    """Four rows of scatter 0.05 have a weight of 4 / 0.05^2 = 1600, the prior has 1."""
    (found,) = fit(power_law([[1]] * 4, [1.2] * 4), [WIDE])
    assert found.verdict is Verdict.DETERMINED
    assert log(found.value) == pytest.approx(log(1.2) * 1600 / 1601, rel=1e-3)
    assert found.error == pytest.approx(1 / sqrt(1601), rel=1e-3)


def test_a_row_that_the_model_cannot_represent_pulls_little() -> None:
    measured = [1.2, 1.19, 1.21, 1.2, 1.18, 1.22, 1.2, 1.2, 12.0]
    (found,) = fit(power_law([[1]] * 9, measured), [WIDE])
    assert found.value == pytest.approx(1.2, rel=0.02)


def test_what_no_row_sees_keeps_its_value_exactly() -> None:
    seen, unseen = fit(power_law([[1, 0]] * 4, [1.2] * 4), [WIDE, WIDE])
    assert seen.verdict is Verdict.DETERMINED
    assert unseen == Known(value=1.0, error=1.0, verdict=Verdict.NOT)


@pytest.mark.parametrize(
    ("information", "verdict"),
    [(0.5, Verdict.NOT), (2, Verdict.WEAKLY), (20, Verdict.DETERMINED)],
)
def test_a_verdict_compares_rows_with_the_prior(information: float, verdict: Verdict) -> None:
    """A row of slope a and scatter 0.05 says (a / 0.05)^2, where the prior says 1."""
    slope = 0.05 * sqrt(information)
    (found,) = fit(power_law([[slope]], [1.0]), [WIDE])
    assert found.verdict is verdict
    assert found.error == pytest.approx(1 / sqrt(1 + information), rel=1e-2)


def test_of_two_constants_seen_only_together_one_takes_the_change() -> None:
    found = fit(power_law([[1, 1]] * 8, [1.2] * 8), [WIDE, WIDE])
    assert [known.verdict for known in found].count(Verdict.NOT) == 1
    assert found[0].value * found[1].value == pytest.approx(1.2, rel=1e-3)


def test_bounds_hold() -> None:
    narrow = Unknown(start=1.0, low=0.9, high=1.1)
    (found,) = fit(power_law([[1]] * 8, [1.15] * 8), [narrow])
    assert found.value == 1.1


def test_a_constant_may_start_at_its_bound() -> None:
    (found,) = fit(power_law([[1]] * 8, [0.9] * 8), [Unknown(start=1.0, low=0.5, high=1.0)])
    assert found.value == pytest.approx(0.9, rel=0.01)


def test_constants_leave_until_the_rest_is_determined() -> None:
    """The first two are seen by one row alone; without either, the other is."""
    information = np.array([[9.0, 9, 0], [9, 9, 0], [0, 0, 100]])
    assert determined(information) in ([0, 2], [1, 2])
    assert determined(np.zeros((2, 2))) == []
