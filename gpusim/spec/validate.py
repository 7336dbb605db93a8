"""Checks values against a model, and says of the first mistake what a user needs to mend it."""

import re
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gpusim.errors import SpecError, excerpt, nearest, plain

#: Fields that a file has elsewhere: `sequences` beside attention, `provenance` beside each value.
_NOT_WRITTEN = ("sequences", "provenance")

M = TypeVar("M", bound=BaseModel)

#: What was expected, by pydantic's type of error; for the others its own words serve.
_EXPECTED = {
    "missing": "a value",
    "int_type": "an integer",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "too_short": "at least {min_length} entry",
    "string_too_short": "at least {min_length} characters",
    "string_too_long": "at most {max_length} characters",
}


def validate(model: type[M], values: Any, source: Path | str, *, join: str = ": ") -> M:
    """Return the values as a model.

    Raises:
        SpecError: source, path of the field, what was expected and what was found, for the first
            mistake. A misspelt key goes before the missing one that it explains.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        mistakes: dict[str, list[ErrorDetails]] = {}
        for detail in error.errors(include_url=False):
            if detail["type"] == "too_short" and detail["input"]:
                continue  # long enough, but for the entries that have mistakes
            mistakes.setdefault(_path(detail, values), []).append(detail)
        first = min(mistakes, key=lambda path: mistakes[path][0]["type"] != "extra_forbidden")
        more = f" (and {len(mistakes) - 1} more)" if len(mistakes) > 1 else ""
        text = _explain(model, first, mistakes[first])
        raise SpecError(f"{source}{join}{text}{more}") from error


def _path(detail: ErrorDetails, values: Any) -> str:
    """Path of a field as it is written in the file, without pydantic's names for union members."""
    loc = detail["loc"]
    if loc[:2] == ("attention", "sequences"):  # the file has them side by side
        loc = loc[1:]
    path, node = "", values
    for step in loc:
        try:
            node = node[step]
        except (KeyError, IndexError, TypeError):
            if detail["type"] != "missing":
                break
        path += f"[{step}]" if isinstance(step, int) else f".{plain(step)}"
    path = path.removeprefix(".")
    return path.removeprefix("provenance.")  # kept apart in the model, beside the value in a file


def _explain(model: type[BaseModel], path: str, details: list[ErrorDetails]) -> str:
    """The mistake at one path; several details are those of a union's members."""
    kind, value = details[0]["type"], details[0].get("input")
    if kind == "value_error":
        text = f"{path}.{details[0]['msg'].removeprefix('Value error, ')}".removeprefix(".")
        return re.sub(r"^attention\.(?=sequences)", "", text)
    if kind == "extra_forbidden":
        *parents, name = details[0]["loc"]
        fields = _fields_at(model, parents)
        return f"{path}: expected a known key{nearest(str(name), fields) or _list(fields)}"
    expected = " or ".join(_expected(detail) for detail in details)
    found = "none" if kind == "missing" else excerpt(value)
    names = re.findall(r"'([^']*)'", expected)
    return f"{path}: expected {expected}, found {found}{nearest(str(value), names)}"


def _expected(detail: ErrorDetails) -> str:
    known = _EXPECTED.get(detail["type"])
    if known:
        return known.format(**detail.get("ctx", {}))
    return re.sub(r"^\w+ should (be|have) ", "", detail["msg"])


def _list(fields: list[str]) -> str:
    return f"; known: {', '.join(fields)}" if fields else ""


def _fields_at(model: Any, parents: list[int | str]) -> list[str]:
    """Names of the fields that the mapping at this path of the file may have."""
    if not parents:  # the file has an attention's sequences beside it
        beside = ["sequences"] if "attention" in model.model_fields else []
        return [name for name in model.model_fields if name != "provenance"] + beside
    for step in parents:
        field = getattr(model, "model_fields", {}).get(step)
        model = model if field is None else field.annotation
        for inner in getattr(model, "__args__", ()):
            model = inner if hasattr(inner, "model_fields") else model
    return [name for name in getattr(model, "model_fields", {}) if name not in _NOT_WRITTEN]
