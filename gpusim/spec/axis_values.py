"""Values of a swept field: a list, a range, or a range with equal ratios."""

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from gpusim.errors import SpecError, excerpt
from gpusim.spec.provenance import Frozen
from gpusim.spec.validate import validate

#: More values of one field than these are taken for a mistake.
MAX_VALUES = 100_000

Number = (
    Annotated[int, Field(strict=True)] | Annotated[float, Field(strict=True, allow_inf_nan=False)]
)


class Range(Frozen):
    """Numbers from one to another, both included.

    Every `step`, or so many `points` at equal distances (`linear`) or equal ratios (`log`). Where
    both ends are whole, so are all: rounded to the nearest, or to the nearest multiple of
    `multiple_of`; equal neighbours count once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    start: Number = Field(alias="from")
    stop: Number = Field(alias="to")
    step: Number | None = None
    points: Annotated[int, Field(strict=True, ge=2, le=MAX_VALUES)] | None = None
    scale: Literal["linear", "log"] = "linear"
    multiple_of: Annotated[int, Field(strict=True, ge=1)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.stop < self.start:
            raise ValueError(f"to: expected at least from ({self.start:g}), found {self.stop:g}")
        if (self.step is None) == (self.points is None):
            raise ValueError("step: expected either step or points")
        if self.step is not None:
            if self.scale == "log":
                raise ValueError("step: expected points where scale is log")
            if self.step <= 0:
                raise ValueError(f"step: expected more than 0, found {self.step:g}")
            if (self.stop - self.start) / self.step > MAX_VALUES:
                raise ValueError(f"step: expected at most {MAX_VALUES} values, found more")
        if self.scale == "log" and self.start <= 0:
            raise ValueError(f"from: expected more than 0 where scale is log, found {self.start:g}")
        if self.multiple_of is not None and not self._whole:
            raise ValueError("multiple_of: expected from and to that are integers")
        return self

    @property
    def _whole(self) -> bool:
        return isinstance(self.start, int) and isinstance(self.stop, int)

    def values(self) -> tuple[float, ...]:
        """The numbers, ascending.

        >>> Range.model_validate({"from": 512, "to": 4096, "points": 4, "scale": "log"}).values()
        (512, 1024, 2048, 4096)
        >>> Range.model_validate({"from": 0.5, "to": 1.0, "step": 0.25}).values()
        (0.5, 0.75, 1.0)
        """
        if self._whole and isinstance(self.step, int):
            found = list(range(int(self.start), int(self.stop) + 1, self.step))
            return tuple(dict.fromkeys(map(self._rounded, found)))
        # Twelve digits hide that 0.1 has no exact binary form: 0.3, not 0.30000000000000004.
        return tuple(dict.fromkeys(self._rounded(float(f"{x:.12g}")) for x in self._spread()))

    def _spread(self) -> list[float]:
        start, stop = float(self.start), float(self.stop)
        if self.step is not None:
            count = math.floor((stop - start) / self.step + 1e-9) + 1
            return [start + i * self.step for i in range(count)]
        parts = (self.points or 2) - 1
        if self.scale == "log":
            return [start * (stop / start) ** (i / parts) for i in range(parts + 1)]
        return [start + (stop - start) * i / parts for i in range(parts + 1)]

    def _rounded(self, value: float) -> float:
        if not self._whole:
            return value
        unit = self.multiple_of or 1
        return math.floor(value / unit + 0.5) * unit


def expand(given: Any, where: str) -> tuple[Any, ...]:
    """Values of a field as a sweep file gives them: a list, a range, or `{times: ...}` of either.

    Factors stay apart, as `{"times": x}`: they are of the profile that they come to.

    Raises:
        SpecError: path, what was expected and what was found.
    """
    if isinstance(given, list):
        if not given:
            raise SpecError(f"{where}: expected at least 1 value, found []")
        if len(given) > MAX_VALUES:
            raise SpecError(f"{where}: expected at most {MAX_VALUES} values, found {len(given)}")
        return tuple(given)
    if isinstance(given, dict) and set(given) == {"times"}:
        return tuple(_factor(value, where) for value in expand(given["times"], f"{where}.times"))
    if isinstance(given, dict) and "from" in given:
        values: Callable[[], tuple[Any, ...]] = validate(Range, given, where, join=".").values
        return values()
    raise SpecError(
        f"{where}: expected a list, {{from, to, step}} or {{from, to, points}},"
        f" found {excerpt(given)}"
    )


def _factor(value: Any, where: str) -> dict[str, float]:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise SpecError(f"{where}.times: expected numbers, found {excerpt(value)}")
    return {"times": value}
