"""Which fields a sweep may vary, and what those have that nobody names."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel

from gpusim.errors import SpecError, nearest, plain
from gpusim.spec.attention import Attention, Sequence
from gpusim.spec.fields import inside, steps
from gpusim.spec.model_workload import ModelWorkload
from gpusim.spec.workload import Workload

#: Keys of a workload that a sweep has fields or words of its own for.
NOT_SWEPT = ("name", "description", "gpus", "schedules")
#: Fields beside those of a workload.
OF_RUNS = ("gpu", "schedule", "engine")

Kind = type[Workload] | type[ModelWorkload]


def kind_of_workload(fields: Iterable[str]) -> Kind:
    """What has these fields: a workload of a model, or of attention.

    >>> kind_of_workload(["sequences[0].q_len", "model"]).__name__
    'ModelWorkload'
    """
    models = any(field == "model" or inside(field, "model") for field in fields)
    return ModelWorkload if models else Workload


def check_field(field: str, where: str, kind: Kind = Workload) -> None:
    """Refuse a field that such a workload does not have.

    Raises:
        SpecError: naming the nearest one.
    """
    try:
        first, *rest = steps(field)
    except ValueError as error:
        raise SpecError(f"{where}: {error}") from error
    if first in OF_RUNS:
        if rest and (first == "engine" or isinstance(rest[0], int)):
            raise SpecError(f"{where}: expected {first}, found {plain(field)}")
        return
    known = {name for name in kind.model_fields if name not in NOT_SWEPT} | {"sequences"}
    if first not in known:
        raise _unknown(str(first), [*OF_RUNS, *sorted(known)], where)
    models = list(_at_top(kind, str(first)))
    for step in rest:
        if isinstance(step, int) or not models:
            continue
        names = [name for model in models for name in model.model_fields if name != "sequences"]
        if step not in names:
            raise _unknown(step, names, where)
        models = [inner for about in _abouts(models, step) for inner in _models(about)]


def type_of(field: str, kind: Kind = Workload) -> type | None:
    """What a field of a workload holds: str, float, int or bool; None: it has no type of its own.

    >>> type_of("attention.window"), type_of("sequences[0].kv_len"), type_of("load")
    (<class 'int'>, <class 'int'>, <class 'str'>)
    """
    first, *rest = (step for step in steps(field) if isinstance(step, str))
    models: list[type[BaseModel]] = [Attention if first == "sequences" else kind]
    abouts: list[Any] = []
    for step in (first, *rest):
        abouts = _abouts(models, step)
        models = [inner for about in abouts for inner in _models(about)]
    found = [each for about in abouts for each in _plain_types(about)]
    return next((each for each in (str, float, int, bool) if each in found), None)


def with_defaults(fields: dict[str, Any], kind: Kind = Workload) -> dict[str, Any]:
    """The fields of a workload, with the defaults of those that it leaves out.

    >>> with_defaults({"attention.q_heads": 8})["attention.dtype"]
    'bf16'
    """
    found: dict[str, Any] = {}
    parts: list[tuple[str, type[BaseModel]]] = [("", kind)]
    if any(field.startswith("attention.") for field in fields):
        parts.append(("attention.", Attention))
    for prefix, model in parts:
        for name, about in model.model_fields.items():
            field = f"{prefix}{name}"
            if field in fields:  # in the order of the model
                found[field] = fields[field]
            elif not about.is_required() and field not in NOT_SWEPT:
                found[field] = about.default
    return found | fields


def _at_top(kind: Kind, name: str) -> Iterator[type[BaseModel]]:
    """The models of a key of a workload file; `sequences` stand beside `attention` there."""
    if name == "sequences":
        yield Sequence
    elif name in kind.model_fields:
        yield from _models(kind.model_fields[name].annotation)


def _abouts(models: Iterable[type[BaseModel]], name: str) -> list[Any]:
    return [m.model_fields[name].annotation for m in models if name in m.model_fields]


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in an annotation, whatever wraps them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


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


def _unknown(name: str, known: Iterable[str], where: str) -> SpecError:
    known = list(known)
    hint = nearest(name, known) or f"; known: {', '.join(known)}"
    return SpecError(f"{where}: expected a field, found {plain(name)}{hint}")
