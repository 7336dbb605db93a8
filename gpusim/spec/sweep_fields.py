"""Which fields a sweep may vary, and what those have that nobody names."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel

from gpusim.errors import SpecError, nearest, plain
from gpusim.spec.attention import Attention, Sequence
from gpusim.spec.fields import steps
from gpusim.spec.workload import Workload

#: Keys of a workload that a sweep has fields or words of its own for.
NOT_SWEPT = ("name", "description", "gpus", "schedules")
#: Fields beside those of a workload.
OF_RUNS = ("gpu", "schedule", "engine")


def check_field(field: str, where: str) -> None:
    """Refuse a field that no workload has; numbers of profiles and options have their own checks.

    Raises:
        SpecError: naming the nearest one.
    """
    try:
        first, *rest = steps(field)
    except ValueError as error:
        raise SpecError(f"{where}: {error}") from error
    if first in OF_RUNS:
        return
    known: list[str] = [*OF_RUNS, *(f for f in Workload.model_fields if f not in NOT_SWEPT)]
    known.append("sequences")
    kinds: list[type[BaseModel]] = [Sequence] if first == "sequences" else []
    if first not in known:
        raise _unknown(str(first), known, where)
    if first in Workload.model_fields:
        kinds = list(_models(Workload.model_fields[str(first)].annotation))
    for step in rest:
        if isinstance(step, int) or not kinds:
            continue
        names = [n for kind in kinds for n in kind.model_fields if n != "sequences"]
        if step not in names:
            raise _unknown(step, names, where)
        fields = [kind.model_fields[step] for kind in kinds if step in kind.model_fields]
        kinds = [model for f in fields for model in _models(f.annotation)]


def type_of(field: str) -> type | None:
    """What the model says that a field of a workload holds: int, float, bool or str; None: nothing.

    >>> type_of("attention.window"), type_of("sequences[0].kv_len"), type_of("load")
    (<class 'int'>, <class 'int'>, <class 'str'>)
    """
    first, *rest = (step for step in steps(field) if isinstance(step, str))
    kinds: list[type[BaseModel]] = [Attention if first == "sequences" else Workload]
    found: list[Any] = []
    for step in (first, *rest):
        found = [kind.model_fields[step].annotation for kind in kinds if step in kind.model_fields]
        kinds = [model for annotation in found for model in _models(annotation)]
    plain = [kind for annotation in found for kind in _plain_types(annotation)]
    return next((kind for kind in (str, float, int, bool) if kind in plain), None)


def _plain_types(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type):
        yield annotation
    elif get_origin(annotation) is Literal:
        yield from map(type, get_args(annotation))
    elif get_origin(annotation) is Annotated:
        yield from _plain_types(get_args(annotation)[0])
    else:
        for inner in get_args(annotation):
            yield from _plain_types(inner)


def _unknown(name: str, known: list[str], where: str) -> SpecError:
    hint = nearest(name, known) or f"; known: {', '.join(known)}"
    return SpecError(f"{where}: expected a field, found {plain(name)}{hint}")


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in an annotation, whatever wraps them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def with_defaults(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a workload, with the defaults of those that it leaves out.

    >>> with_defaults({"attention.q_heads": 8})["attention.dtype"]
    'bf16'
    """
    found: dict[str, Any] = {"l2": "cold", "load": "steady"}
    if any(field.startswith("attention.") for field in fields):
        for name, about in Attention.model_fields.items():
            field = f"attention.{name}"
            if field in fields:  # in the order of the model
                found[field] = fields[field]
            elif not about.is_required():
                found[field] = about.default
    return found | fields
