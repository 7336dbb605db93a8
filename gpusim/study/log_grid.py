"""A positive function known on a grid, interpolated: linear in the logarithms of all it has."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from math import exp, log
from typing import Any


class LogGrid:
    """Values at all combinations of the axes' points; powers of the coordinates are exact.

    Beyond the last point of an axis its last two go on, or with `clamped` the last value holds;
    before its first point the first holds. Plain Python: a lookup takes microseconds, and NumPy
    would take longer for one number.

    >>> area = LogGrid([[1, 4], [1, 9]], lambda points: [a * b for a, b in points])
    >>> round(area.at(2, 3), 12)
    6.0
    """

    def __init__(
        self,
        axes: Sequence[Sequence[float]],
        values: Callable[[list[tuple[Any, ...]]], Iterable[float]],
        *,
        clamped: bool = False,
    ) -> None:
        """Ask for the values of all combinations of points at once; they must be above 0."""
        self._axes = [[log(point) for point in axis] for axis in axes]
        self._values = [log(value) for value in values(list(product(*axes)))]
        self._clamped = clamped
        strides, step = [], 1
        for axis in reversed(axes):
            strides.append(step)
            step *= len(axis)
        self._strides = strides[::-1]

    def at(self, *point: float) -> float:
        """The value at a point, whose coordinates are above 0."""
        values = self._values
        return exp(sum([values[at] * part for at, part in self._corners(point)]))

    def _corners(self, point: tuple[float, ...]) -> list[tuple[int, float]]:
        """Points of the grid around one, and how much each of them counts."""
        corners = [(0, 1.0)]
        for coordinate, axis, stride in zip(point, self._axes, self._strides, strict=True):
            x, last = log(coordinate), len(axis) - 1
            if x <= axis[0]:
                continue
            if x >= axis[last] and (self._clamped or not last):
                corners = [(at + last * stride, part) for at, part in corners]
                continue
            i = min(bisect_right(axis, x), last) - 1
            above = (x - axis[i]) / (axis[i + 1] - axis[i])
            below, low, high = 1 - above, i * stride, (i + 1) * stride
            corners = [(at + low, part * below) for at, part in corners] + [
                (at + high, part * above) for at, part in corners
            ]
        return corners


def spaced(most: int, per_octave: int = 1) -> list[int]:
    """Whole numbers from 1 to at least `most`, evenly spaced in their logarithms.

    >>> spaced(8), spaced(8, 2)
    ([1, 2, 4, 8], [1, 2, 3, 4, 6, 8])
    """
    points, i = [1], 1
    while points[-1] < most:
        whole, part = divmod(i, per_octave)
        point = round(2**whole * (1 + part / per_octave))
        if point > points[-1]:
            points.append(point)
        i += 1
    return points
