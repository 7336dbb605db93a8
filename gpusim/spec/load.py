"""Finds, reads and validates GPU profiles, workload and plan files, by name or by path."""

from functools import cache
from pathlib import Path
from typing import Any

from gpusim.errors import SpecError, excerpt, nearest, plain
from gpusim.spec.gpu import Gpu
from gpusim.spec.plan import Plan
from gpusim.spec.sourced import merged, without_sources
from gpusim.spec.validate import validate
from gpusim.spec.workload import Workload
from gpusim.spec.yaml_file import read_mapping

#: How many profiles may extend one another.
MAX_BASES = 8

_PACKAGE = Path(__file__).resolve().parents[1]
_KINDS = {
    "hardware": "GPU",
    "workloads/models": "model",
    "workloads/plans": "plan",
    "workloads/sweeps": "sweep",
}


def shipped(kind: str, suffix: str = ".yaml") -> dict[str, Path]:
    """Return the shipped files of a kind ('hardware', 'validation/published') by name."""
    folder = _PACKAGE / "_shipped" / kind
    if not folder.is_dir():  # a checkout, or an editable install of one
        folder = _PACKAGE.parent / kind
    return {path.stem: path for path in sorted(folder.glob(f"*{suffix}"))}


def find(name_or_path: str | Path, kind: str) -> Path:
    """Return the file for a shipped name or a path.

    Raises:
        SpecError: if there is neither; it names the nearest shipped name.
    """
    text, path = str(name_or_path), Path(name_or_path)
    known = shipped(kind)
    if text in known:
        return known[text]
    try:
        if path.is_file():
            return path
        found = "a folder" if path.is_dir() else "neither"
    except OSError as error:
        found = f"neither ({error.strerror})"
    what = _KINDS.get(kind, "workload")
    hint = nearest(path.stem, known) or f"; known: {', '.join(known)}"
    raise SpecError(f"{plain(text)}: expected a {what} name or a file, found {found}{hint}")


def load_gpu(name_or_path: str | Path) -> Gpu:
    """Return the profile for a shipped GPU name or a file.

    Raises:
        SpecError: if there is no such profile, or a number in it is malformed or has no source.
    """
    known = shipped("hardware").get(str(name_or_path))
    return _shipped_gpu(known) if known else _gpu_from(find(name_or_path, "hardware"))


def load_workload(name_or_path: str | Path) -> Workload:
    """Return the workload of attention for a shipped name or a file.

    Raises:
        SpecError: if the file is missing, is of a whole model, or does not validate.
    """
    path = find(name_or_path, "workloads")
    document = read_mapping(path)
    if "model" in document and "attention" not in document:
        raise SpecError(f"{path}: model: expected attention (load_model_workload reads models)")
    return workload_from(path, document)


def workload_from(path: Path, document: dict[str, Any]) -> Workload:
    """Return the workload of attention that a file's mapping describes.

    Raises:
        SpecError: if it does not validate.
    """
    attention = document.get("attention")
    if isinstance(attention, dict) and "sequences" in attention:
        raise SpecError(f"{path}: attention.sequences: expected beside attention, found inside it")
    return validate(Workload, {"name": path.stem} | document, path)


def load_plan(name_or_path: str | Path) -> Plan:
    """Return the plan for a shipped name or a file; its CSV, if any, is looked for beside it.

    Raises:
        SpecError: if the file is missing or does not validate.
    """
    path = find(name_or_path, "workloads/plans")
    plan = validate(Plan, {"name": path.stem} | read_mapping(path), path)
    if plan.traffic.csv is None:
        return plan
    traffic = plan.traffic.model_copy(update={"csv": str(path.parent / plan.traffic.csv)})
    return plan.model_copy(update={"traffic": traffic})


def load_uncalibrated(name_or_path: str | Path) -> Gpu:
    """Return `load_gpu(name_or_path).uncalibrated()`; that of a shipped profile is made once."""
    known = shipped("hardware").get(str(name_or_path))
    return _shipped_uncalibrated(known) if known else load_gpu(name_or_path).uncalibrated()


def lineage(name_or_path: str | Path) -> list[str]:
    """Names of a profile and of those that it extends, one after another.

    Raises:
        SpecError: if there is no such profile.
    """
    return [str(document["name"]) for _, document in _chain(find(name_or_path, "hardware"))]


def files_of(name_or_path: str | Path) -> list[Path]:
    """The file of a profile and those of the profiles that it extends.

    Raises:
        SpecError: if there is no such profile.
    """
    return [file for file, _ in _chain(find(name_or_path, "hardware"))]


@cache
def _shipped_gpu(path: Path) -> Gpu:
    return _gpu_from(path)


@cache
def _shipped_uncalibrated(path: Path) -> Gpu:
    return _shipped_gpu(path).uncalibrated()


def _gpu_from(path: Path) -> Gpu:
    """The profile in a file; every one that it builds on has to be valid by itself."""
    *bases, top = reversed(_chain(path))
    values: dict[str, Any] = {}
    for file, document in bases:
        values = merged(values, document)
        _validated(values, file)
    return _validated(merged(values, top[1]), path)


def _validated(document: dict[str, Any], path: Path) -> Gpu:
    provenance: dict[str, Any] = {}
    try:
        values = without_sources(document, provenance)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from error
    if "provenance" in values:
        raise SpecError(f"{path}: provenance: expected kind and source beside each value")
    gpu = validate(Gpu, values | {"provenance": provenance}, path)
    try:
        gpu.uncalibrated()
    except SpecError as error:
        raise SpecError(f"{path}: with nominal numbers: {error}") from error
    return gpu


def _chain(path: Path) -> list[tuple[Path, dict[str, Any]]]:
    """The file and its mapping, then the one that it extends, and so on."""
    chain: list[tuple[Path, dict[str, Any]]] = []
    while True:
        document = read_mapping(path)
        chain.append((path, document))
        if "extends" not in document:
            return chain
        if "name" not in document:
            raise SpecError(f"{path}: name: expected a value, found none")
        try:
            base = _base(path, document.pop("extends"))
        except SpecError as error:
            raise SpecError(f"{path}: extends: {error}") from error
        if base.resolve() in {file.resolve() for file, _ in chain}:
            raise SpecError(f"{path}: extends: expected another profile, found a circle to {base}")
        if len(chain) > MAX_BASES:
            raise SpecError(f"{path}: extends: expected at most {MAX_BASES} profiles in a row")
        path = base


def _base(path: Path, name: Any) -> Path:
    if not isinstance(name, str):
        raise SpecError(f"expected a GPU name or a file, found {excerpt(name)}")
    return find(path.parent / name if _beside(path, name) else name, "hardware")


def _beside(path: Path, name: str) -> bool:
    try:
        return (path.parent / name).is_file()
    except OSError:
        return False
