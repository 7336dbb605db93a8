"""Where a number about silicon comes from, and what a calibration may make of it."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

#: Numbers beyond these limits are taken for mistakes; within them no prediction overflows.
SMALLEST, LARGEST = 1e-3, 1e6

NotNegative = Annotated[float, Field(strict=True, ge=0, le=LARGEST, allow_inf_nan=False)]
Positive = Annotated[float, Field(strict=True, ge=SMALLEST, le=LARGEST, allow_inf_nan=False)]
Source = Annotated[str, Field(min_length=3)]


class Kind(StrEnum):
    """Where a number comes from, most trusted first."""

    DATASHEET = "datasheet"
    MEASURED = "measured"
    CALIBRATED = "calibrated"
    ESTIMATED = "estimated"


class Frozen(BaseModel):
    """A part of an input: it cannot be changed, and has no keys beside its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class Nominal(Frozen):
    """What data sheets and microbenchmarks alone say of a number."""

    value: NotNegative
    kind: Kind
    source: Source

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        if self.kind is Kind.CALIBRATED:
            raise ValueError("kind: expected datasheet, measured or estimated, found calibrated")
        return self


class Provenance(Frozen):
    """Kind and source of one number; and of one that can be calibrated, from where and how far.

    Attributes:
        nominal: the number without any calibration; None: the number as it is.
        bounds: least and greatest number that a calibration may set; None: it sets none.
    """

    kind: Kind
    source: Source
    nominal: Nominal | None = None
    bounds: tuple[Positive, Positive] | None = None

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        for name in ("nominal", "bounds"):
            if self.kind is Kind.CALIBRATED and getattr(self, name) is None:
                raise ValueError(f"{name}: expected beside a calibrated number, found none")
        if self.bounds and self.bounds[1] <= self.bounds[0]:
            low, high = self.bounds
            raise ValueError(f"bounds: expected the smaller one first, found {low:g}, {high:g}")
        return self

    def check(self, value: float) -> None:
        """Refuse bounds that do not hold the number itself, or its nominal one.

        Raises:
            ValueError: which, what was expected and what was found.
        """
        nominal = value if self.nominal is None else self.nominal.value
        for name, number in (("value", value), ("nominal.value", nominal)):
            if self.bounds and not self.bounds[0] <= number <= self.bounds[1]:
                low, high = self.bounds
                raise ValueError(
                    f"{name}: expected a number within its bounds, {low:g} to {high:g}, found"
                    f" {number:g}"
                )
