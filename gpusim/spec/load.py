"""Finds, reads and validates GPU profiles and workload files, by name or by path."""

from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from gpusim.errors import SpecError, nearest
from gpusim.spec.gpu import Gpu
from gpusim.spec.workload import Workload
from gpusim.spec.yaml_file import read_mapping

M = TypeVar("M", bound=BaseModel)

_PACKAGE = Path(__file__).resolve().parents[1]


def shipped(kind: str) -> dict[str, Path]:
    """Return the shipped files of a kind ('hardware' or 'workloads') by name."""
    folder = _PACKAGE / "_shipped" / kind
    if not folder.is_dir():  # a checkout, or an editable install of one
        folder = _PACKAGE.parent / kind
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find(name_or_path: str | Path, kind: str) -> Path:
    """Return the file for a shipped name or a path.

    Raises:
        SpecError: if there is neither; it names the nearest shipped name.
    """
    text = str(name_or_path)
    known = shipped(kind)
    if text in known:
        return known[text]
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"} or "/" in text:
        if path.is_file():
            return path
        raise SpecError(f"{path}: expected a readable file, found none{nearest(path.stem, known)}")
    if path.is_file():
        return path
    what = "GPU" if kind == "hardware" else "workload"
    hint = nearest(text, known) or f"; known: {', '.join(known)}"
    raise SpecError(f"{text}: expected a {what} name or a file{hint}")


def load_gpu(name_or_path: str | Path) -> Gpu:
    """Return the profile for a shipped GPU name or a file.

    Raises:
        SpecError: if there is no such profile, or a number in it is malformed or has no source.
    """
    return _gpu_from(find(name_or_path, "hardware").resolve())


def load_workload(name_or_path: str | Path) -> Workload:
    """Return the workload for a shipped name or a file.

    Raises:
        SpecError: if the file is missing or does not validate.
    """
    path = find(name_or_path, "workloads")
    return validate(Workload, read_mapping(path), path)


@cache
def _gpu_from(path: Path) -> Gpu:
    document = _extended(path, seen=())
    provenance: dict[str, Any] = {}
    values = _strip_sources(document, "", provenance, path)
    return validate(Gpu, values | {"provenance": provenance}, path)


def _extended(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """Return the file's mapping laid over the profile that it extends."""
    document = read_mapping(path)
    base_name = document.pop("extends", None)
    if base_name is None:
        return document
    if not isinstance(base_name, str):
        raise SpecError(f"{path}: extends: expected a GPU name, found {base_name!r}")
    beside = path.parent / base_name
    base_path = beside if beside.is_file() else find(base_name, "hardware")
    if base_path.resolve() in (path.resolve(), *seen):
        raise SpecError(f"{path}: extends: expected another profile, found a circle")
    return _merged(_extended(base_path, (*seen, path.resolve())), document)


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        nested = isinstance(value, dict) and isinstance(old, dict) and "value" not in value
        result[key] = _merged(old, value) if nested else value
    return result


def _strip_sources(node: Any, where: str, provenance: dict[str, Any], path: Path) -> Any:
    """Split `{value, kind, source}` leaves into the value and `provenance[where]`."""
    if isinstance(node, dict) and "value" in node:
        missing = {"kind", "source"} - node.keys()
        extra = node.keys() - {"value", "kind", "source"}
        if missing or extra:
            found = f"no {' and no '.join(sorted(missing))}" if missing else f"'{min(extra)}'"
            raise SpecError(f"{path}: {where}: expected value, kind and source, found {found}")
        provenance[where] = {"kind": node["kind"], "source": node["source"]}
        return node["value"]
    if isinstance(node, dict):
        prefix = f"{where}." if where else ""
        return {k: _strip_sources(v, f"{prefix}{k}", provenance, path) for k, v in node.items()}
    if isinstance(node, (int, float)):
        raise SpecError(f"{path}: {where}: expected {{value, kind, source}}, found {node!r}")
    return node


def validate(model: type[M], values: dict[str, Any], path: Path | str) -> M:
    """Validate values, turning the first mistake into one line.

    Raises:
        SpecError: naming the file, the field's path, what was expected and what was found.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise SpecError(f"{path}: {_explain(model, errors[0])}{more}") from error


def _explain(model: type[BaseModel], error: Any) -> str:
    loc = error["loc"]
    if loc[:2] == ("attention", "sequences"):  # the file has them side by side
        loc, model = loc[1:], model.model_fields["attention"].annotation or model
    where = ""
    for step in loc:
        where += f"[{step}]" if isinstance(step, int) else f".{step}" if where else str(step)
    kind, message = error["type"], error["msg"]
    if kind == "value_error":
        text = message.removeprefix("Value error, ")
        if text.startswith("sequences"):
            return text
        return f"{where}.{text}" if where and ":" in text else f"{where}: {text}".lstrip(": ")
    if kind == "extra_forbidden":
        fields = _fields_at(model, loc[:-1])
        return f"{where}: expected a known key{nearest(loc[-1], fields) or _list(fields)}"
    if kind == "missing":
        return f"{where}: expected a value, found none"
    expected = message.removeprefix("Input should be ").removeprefix("Input should have ")
    found = repr(error["input"])
    found = found if len(found) <= 60 else f"{found[:57]}..."
    return f"{where}: expected {expected}, found {found}{_nearest_literal(error)}"


def _list(fields: list[str]) -> str:
    return f"; known: {', '.join(fields)}" if fields else ""


def _nearest_literal(error: Any) -> str:
    if error["type"] != "literal_error" or not isinstance(error["input"], str):
        return ""
    return nearest(error["input"], error["ctx"]["expected"].replace("'", "").split(" or "))


def _fields_at(model: Any, loc: tuple[int | str, ...]) -> list[str]:
    """Names of the fields that the mapping at this path may have."""
    for step in loc:
        field = getattr(model, "model_fields", {}).get(step)
        if field is not None:
            model = field.annotation
        for inner in getattr(model, "__args__", ()):
            if hasattr(inner, "model_fields"):
                model = inner
    return list(getattr(model, "model_fields", {}))
