"""The points of a sweep by number: fields, profile, and whether they run. Nothing is listed ahead.

A plan has all that its points need as one JSON text, so that a worker elsewhere needs no files.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from gpusim.errors import SpecError
from gpusim.spec.expression import Expression
from gpusim.spec.fields import flatten, inside, steps
from gpusim.spec.gpu import Gpu
from gpusim.spec.what_if import numbers_of, what_if

#: Profiles with swept numbers that a process keeps.
MAX_PROFILES = 512

Settings = dict[str, Any]
Axis = dict[str, Sequence[Any]]
Axes = list[Axis]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One combination.

    Attributes:
        index: its number among all combinations, those that do not run included.
        fields: every input by its field, as the columns of the output have them.
        gpu: the profile, with the numbers that the sweep changes; None where that is not possible.
        profile: digest of its numbers.
        error: why it cannot run; else empty.
    """

    index: int
    fields: dict[str, Any]
    gpu: Gpu | None
    profile: str
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A sweep with everything found and read.

    Attributes:
        base: fields of the workload, and its name as `workload`.
        axes: of each the values by field, which vary together; the last one varies fastest.
        gpus: profiles by name.
        models: shapes by name.
        changed: numbers of profiles that are columns, because some profile or axis changes them.
        derived: fields and what they are computed by.
        where: conditions, all of which must hold.
        launches: whether rows list their launches.
        version: of the model.
    """

    base: dict[str, Any]
    axes: tuple[Axis, ...]
    gpus: dict[str, Gpu]
    models: dict[str, dict[str, Any]]
    changed: tuple[str, ...]
    derived: dict[str, str | float]
    where: tuple[str, ...]
    launches: bool
    version: str

    def text(self) -> str:
        """The plan as JSON; `plan_of` reads it."""
        values = {name: getattr(self, name) for name in Plan.__dataclass_fields__}
        values["gpus"] = {name: gpu.model_dump(mode="json") for name, gpu in self.gpus.items()}
        return json.dumps(values, separators=(",", ":"))

    @cached_property
    def digest(self) -> str:
        """12 hex digits over all that the rows depend on, the model's version included."""
        values = json.loads(self.text())
        values["gpus"] = {name: digest_of(gpu) for name, gpu in self.gpus.items()}
        values["derived"] = list(self.derived.items())  # one may be computed from those before it
        text = json.dumps(values, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @cached_property
    def size(self) -> int:
        """Number of combinations, those that do not run included."""
        return math.prod(map(length, self.axes))

    @cached_property
    def leaves(self) -> dict[str, None]:
        """Every field that a point can have, those of the base first."""
        swept = (leaf for _, _, each in self._assignments for leaves in each for leaf in leaves)
        return dict.fromkeys([*self.base, *swept, *self.derived])

    def values_of(self, field: str) -> list[Any]:
        """What the axes set a field to."""
        return [
            leaves[field] for *_, each in self._assignments for leaves in each if field in leaves
        ]

    def point(self, index: int) -> Point | None:
        """The combination of that number, or None if a condition leaves it out."""
        fields, changes = self._fields(index), {}
        for field in [name for name in fields if name.startswith("gpu.")]:
            changes[field.removeprefix("gpu.")] = fields.pop(field)
        gpu, digest, error = None, "", ""
        try:
            gpu, digest = self._profile(fields, changes)
            for field, expression in self._derived:
                value = expression.value(_lookup(fields, gpu))
                if field.startswith("gpu."):
                    changes[field.removeprefix("gpu.")] = value
                    gpu, digest = self._profile(fields, changes)
                else:
                    fields[field] = value
            if not all(condition.value(_lookup(fields, gpu)) for condition in self._where):
                return None
        except (SpecError, ValueError) as refused:
            error = str(refused)
        return Point(index=index, fields=fields, gpu=gpu, profile=digest, error=error)

    def _fields(self, index: int) -> dict[str, Any]:
        """Base and settings; a section is set before what is inside it."""
        digits = []
        for axis in reversed(self.axes):
            index, digit = divmod(index, length(axis))
            digits.append(digit)
        digits.reverse()
        fields = dict(self.base)
        for axis_number, dropped, leaves in self._assignments:
            for name in dropped:
                fields.pop(name, None)
            fields |= leaves[digits[axis_number]]
        return fields

    def _profile(self, fields: dict[str, Any], changes: Mapping[str, Any]) -> tuple[Gpu, str]:
        """The profile of a point and its digest; its numbers become fields."""
        known = {name: change for name, change in changes.items() if change is not None}
        gpu, digest = self._changed(fields["gpu"], json.dumps(known))
        fields.update((f"gpu.{name}", _number(gpu, name)) for name in self.changed)
        return gpu, digest

    @cached_property
    def _changed(self) -> Callable[[str, str], tuple[Gpu, str]]:
        @lru_cache(maxsize=MAX_PROFILES)
        def changed(name: str, changes: str) -> tuple[Gpu, str]:
            gpu = self.gpus[name]
            numbers: dict[str, float] = {}
            for field, change in json.loads(changes).items():
                numbers |= numbers_of(gpu, field, change, self.gpus.__getitem__)
            gpu = what_if(gpu, numbers) if numbers else gpu
            return gpu, digest_of(gpu)

        return changed

    @cached_property
    def _assignments(self) -> list[tuple[int, tuple[str, ...], tuple[Settings, ...]]]:
        """Of each swept field, sections first: axis, fields that it replaces, fields by value."""
        found = []
        swept = [(i, field) for i, axis in enumerate(self.axes) for field in axis]
        for i, field in sorted(swept, key=lambda pair: len(steps(pair[1]))):
            found.append((i, field, tuple(settled(field, value) for value in self.axes[i][field])))
        every = {*self.base, *(leaf for *_, each in found for leaves in each for leaf in leaves)}
        return [
            (i, tuple(name for name in sorted(every) if inside(name, field)), leaves)
            for i, field, leaves in found
        ]

    @cached_property
    def _derived(self) -> list[tuple[str, Expression]]:
        return [(field, Expression(text)) for field, text in self.derived.items()]

    @cached_property
    def _where(self) -> list[Expression]:
        return [Expression(text) for text in self.where]


def digest_of(gpu: Gpu) -> str:
    """A digest of all numbers of a profile; name, sources and description have no part."""
    text = gpu.model_dump_json(exclude={"provenance", "description", "name"})
    return hashlib.sha256(text.encode()).hexdigest()


@lru_cache(maxsize=4)
def plan_of(text: str) -> Plan:
    """The plan of such a text."""
    values = json.loads(text)
    values["gpus"] = {name: Gpu.model_validate(gpu) for name, gpu in values["gpus"].items()}
    for name in ("axes", "changed", "where"):
        values[name] = tuple(values[name])
    return Plan(**values)


def length(axis: Axis) -> int:
    """Number of values of an axis."""
    return len(next(iter(axis.values())))


def settled(field: str, value: Any) -> Settings:
    """The fields that a value of a swept one sets."""
    if field == "schedule" and isinstance(value, Mapping):
        options = {name: option for name, option in value.items() if name != "name"}
        return {"schedule": value["name"]} | (flatten(options, "schedule") if options else {})
    if field.startswith("gpu."):
        return {field: value}
    return flatten(value, field)


def _number(gpu: Gpu, field: str) -> float | None:
    """A number of a profile, or None if it has none of that name."""
    try:
        return gpu.value(field)
    except (AttributeError, KeyError):
        return None


def _lookup(fields: Mapping[str, Any], gpu: Gpu) -> Any:
    def look(field: str) -> Any:
        if field in fields or not field.startswith("gpu."):
            return fields.get(field)
        return _number(gpu, field.removeprefix("gpu."))

    return look
