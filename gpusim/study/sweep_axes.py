"""The axes of a sweep as a reader names them, and where on each a row stands."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gpusim.schedules.columns import Ints
from gpusim.spec.fields import inside
from gpusim.study.sweep_plan import Axis, Plan, length

#: Characters of a value on a page.
MAX_VALUE = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class SweptAxis:
    """One axis with two values or more.

    Attributes:
        fields: what varies together.
        values: their text, a value of the axis each.
        numbers: the values of a field that varies by itself, if all are numbers.
        choice: whether it is the GPU, the schedule or a number or option of them, which one may
            choose; else it is part of the problem.
        stride: distance of its values in the number of a combination.
    """

    fields: tuple[str, ...]
    values: tuple[str, ...]
    numbers: tuple[float, ...] | None
    choice: bool
    stride: int

    @property
    def name(self) -> str:
        """Its fields."""
        return ", ".join(self.fields)

    def digits(self, index: Ints) -> Ints:
        """Which value each combination has."""
        found: Ints = index // self.stride % len(self.values)
        return found


def swept_axes(plan: Plan) -> list[SweptAxis]:
    """The axes with two values or more, in their order."""
    found, stride = [], plan.size
    for axis in plan.axes:
        stride //= length(axis)
        if length(axis) > 1:
            found.append(_swept(axis, stride))
    return found


def _swept(axis: Axis, stride: int) -> SweptAxis:
    columns = [[value_text(field, value) for value in values] for field, values in axis.items()]
    return SweptAxis(
        fields=tuple(axis),
        values=tuple(", ".join(texts) for texts in zip(*columns, strict=True)),
        numbers=_numbers(axis),
        choice=all(_chosen(field) for field in axis),
        stride=stride,
    )


def _chosen(field: str) -> bool:
    return any(field == name or inside(field, name) for name in ("gpu", "schedule"))


def _numbers(axis: Axis) -> tuple[float, ...] | None:
    """Values of the only field, factors of a profile's number included."""
    if len(axis) != 1:
        return None
    (values,) = axis.values()
    numbers = [value.get("times") if isinstance(value, Mapping) else value for value in values]
    factors = sum(isinstance(value, Mapping) for value in values)
    if factors not in (0, len(values)):
        return None
    kept = [n for n in numbers if isinstance(n, (int, float)) and not isinstance(n, bool)]
    distinct = len(set(kept)) == len(values)
    return tuple(kept) if distinct and all(abs(n) < 1e300 for n in kept) else None


def value_text(field: str, value: Any) -> str:
    """A value of a swept field in a line.

    >>> value_text("schedule", {"name": "lean", "block_m": 64}), value_text("l2", "warm")
    ('lean block_m=64', 'warm')
    >>> value_text("gpu.l2.capacity_mib", {"times": 2}), value_text("attention.window", None)
    ('2 times', 'none')
    """
    if field == "schedule" and isinstance(value, Mapping):
        options = [f"{k}={v}" for k, v in value.items() if k != "name"]
        return _cut(" ".join([str(value["name"]), *options]))
    if isinstance(value, Mapping) and set(value) == {"times"}:
        return _cut(f"{value['times']} times")
    if isinstance(value, Mapping) and set(value) == {"from"}:
        return _cut(f"that of {value['from']}")
    if value is None:
        return "none"
    return _cut(value if isinstance(value, str) else json.dumps(value))


def _cut(text: str) -> str:
    return text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 3]}..."
