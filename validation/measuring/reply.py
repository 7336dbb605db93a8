"""What became of a case."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A row's time, and where it comes from."""

    measured_us: float
    source: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Why a case has no row, though nothing is wrong with the kernel."""

    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Why a kernel is not measured any further."""

    reason: str


Reply = Measured | LeftOut | Failed
