"""The least squares behind `gpusim.study.fit`, in widths of the prior."""

from collections.abc import Callable, Sequence
from math import sqrt

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

#: No row is trusted better: what the model leaves at its best, though measurements repeat to 1 %.
LEAST_SCATTER = 0.05
#: Change of a constant behind a derivative, in widths of its prior, but no less and no more than
#: these shares of it: L2's edges and the clocks' switch have kinks, which a small one would miss.
STEP, LEAST_STEP, GREATEST_STEP = 0.1, 0.01, 0.05
#: Iterations of one fit, and the relative gain below which it ends.
MOST_ITERATIONS, LEAST_GAIN = 12, 1e-3
#: Of a normal distribution: standard deviation by median absolute deviation.
NORMAL = 1.4826


def spread(information: Matrix) -> Vector:
    """Standard deviations after the rows, in those of the prior.

    >>> spread(np.array([[3.0]]))
    array([0.5])
    """
    inverse = np.linalg.inv(information + np.eye(len(information)))
    return np.sqrt(np.diag(inverse)).astype(np.float64)


class Problem:
    """A place is z = ln(constant / start) / width of each constant; what was computed is kept."""

    def __init__(
        self,
        residuals: Callable[[Sequence[Vector]], Matrix],
        *,
        start: Vector,
        width: Vector,
        low: Vector,
        high: Vector,
    ) -> None:
        self._residuals = residuals
        self._start, self._width = start, width
        self._least, self._greatest = low, high
        self._low, self._high = np.log(low / start) / width, np.log(high / start) / width
        self._known: dict[bytes, Vector] = {}

    def constants(self, z: Vector) -> Vector:
        """The constants at a place."""
        values: Vector = self._start * np.exp(z * self._width)
        return values.clip(self._least, self._greatest)

    def at(self, z: Vector) -> Vector:
        """Residuals of the rows at a place."""
        return self._at([z])[0]

    def solve(self, z: Vector, free: list[int], scatter: float) -> Vector:
        """The least squares from a place, with only the free constants moving."""
        from scipy.optimize import least_squares

        rows = len(self.at(z))

        def whole(part: Vector) -> Vector:
            full = z.copy()
            full[free] = part
            return full

        def function(part: Vector) -> Vector:
            return np.concatenate([self.at(whole(part)) / scatter, part])

        def jacobian(part: Vector) -> Matrix:
            return np.concatenate([self._slopes(whole(part), free) / scatter, np.eye(len(free))])

        def loss(squares: Vector) -> Matrix:
            """The soft L1 of the rows, and its derivatives; the prior is quadratic throughout."""
            rho = np.array([squares, np.ones_like(squares), np.zeros_like(squares)])
            u = 1 + squares[:rows]
            rho[:, :rows] = 2 * (np.sqrt(u) - 1), u**-0.5, -0.5 * u**-1.5
            return rho

        found = least_squares(
            function,
            z[free],
            jac=jacobian,
            bounds=(self._low[free], self._high[free]),
            method="dogbox",
            loss=loss,
            max_nfev=MOST_ITERATIONS,
            ftol=LEAST_GAIN,
            xtol=LEAST_GAIN,
        )
        return whole(found.x)

    def information(self, z: Vector, free: list[int], scatter: float) -> Matrix:
        """What the rows say of the free constants, where the prior says 1 of each."""
        weights = (1 + (self.at(z) / scatter) ** 2) ** -0.5
        slopes = self._slopes(z, free) / scatter
        return np.asarray(slopes.T @ (slopes * weights[:, None]))

    def scatter(self, z: Vector, free: list[int], before: float) -> float:
        """Scatter of the rows about the model at a place, less what the fit has taken of it."""
        information = self.information(z, free, before)
        taken = float(np.trace(information @ np.linalg.inv(information + np.eye(len(free)))))
        left = np.abs(self.at(z))
        spare = max(1.0, len(left) - taken)
        return max(LEAST_SCATTER, NORMAL * float(np.median(left)) * sqrt(len(left) / spare))

    def _slopes(self, z: Vector, free: list[int]) -> Matrix:
        """Change of each row's residual per width of each free constant, by finite differences."""
        places = [z]
        for i in free:
            share = min(max(STEP * self._width[i], LEAST_STEP), GREATEST_STEP)
            step = share / self._width[i]
            other = z.copy()
            other[i] += step if z[i] + step <= self._high[i] else -step
            places.append(other)
        here, *there = self._at(places)
        columns = [
            (r - here) / (p[i] - z[i]) for r, p, i in zip(there, places[1:], free, strict=True)
        ]
        return np.array(columns).T

    def _at(self, places: Sequence[Vector]) -> list[Vector]:
        new = {z.tobytes(): z for z in places if z.tobytes() not in self._known}
        if new:
            found = self._residuals([self.constants(z) for z in new.values()])
            self._known |= dict(zip(new, found, strict=True))
        return [self._known[z.tobytes()] for z in places]
