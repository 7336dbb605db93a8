"""Turns a sweep as it is declared into a plan: files read, names checked, values listed."""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from gpusim.errors import SpecError, excerpt, plain
from gpusim.spec.axis_values import expand
from gpusim.spec.fields import flatten
from gpusim.spec.gpu import Gpu
from gpusim.spec.load import load_gpu, shipped
from gpusim.spec.load_model import load_model
from gpusim.spec.sweep import Sweep, beside
from gpusim.spec.sweep_fields import (
    NOT_SWEPT,
    Kind,
    check_field,
    kind_of_workload,
    with_defaults,
)
from gpusim.spec.what_if import Profile, changed_fields, fields_of, numbers_of, what_if
from gpusim.study.model_version import model_version
from gpusim.study.sweep_checks import (
    check_expressions,
    check_schedules,
    check_states,
    number_field,
)
from gpusim.study.sweep_plan import Axes, Axis, Plan


def build_plan(sweep: Sweep, file: str | Path = "") -> Plan:
    """The plan of a sweep; profiles are looked for beside `file` first.

    Raises:
        SpecError: path of the field, what was expected and what was found.
    """
    base = {k: v for k, v in sweep.workload.items() if k not in NOT_SWEPT}
    fields = flatten(base)
    kind = kind_of_workload([*fields, *_given(sweep)])
    for field in fields:
        check_field(field, "workload", kind)
    axes = [*_implied(sweep), *_axes(sweep, kind)]
    profile = partial(_profile, Path(file), _named(sweep, Path(file)))
    gpus = _gpus(axes, profile)
    check_schedules(axes)
    check_states(axes)
    changed = dict.fromkeys([*_changed(sweep, profile), *_swept_numbers(sweep, axes, gpus)])
    plan = Plan(
        base={"workload": sweep.workload.get("name", sweep.name), "engine": sweep.engine}
        | with_defaults(fields, kind),
        axes=tuple(axes),
        gpus=gpus,
        models=_models([fields.get("model"), *_values("model", axes)], Path(file)),
        changed=tuple(changed),
        derived=sweep.derived,
        where=sweep.where,
        launches=sweep.launches,
        version=model_version(),
    )
    check_expressions(sweep, plan, kind)
    return plan


def _given(sweep: Sweep) -> list[str]:
    """Fields that vary."""
    return [*sweep.product, *(field for group in sweep.zip for field in group)]


def _values(field: str, axes: Axes) -> list[Any]:
    """Values of a field that varies."""
    return [value for axis in axes for value in axis.get(field, ())]


def _models(names: Iterable[Any], file: Path) -> dict[str, dict[str, Any]]:
    """Shapes of the models that a sweep names; inline ones are fields like all others."""
    models: dict[str, dict[str, Any]] = {}
    for name in names:
        if isinstance(name, str) and name not in models:
            try:
                models[name] = load_model(beside(file, name)).model_dump(mode="json")
            except SpecError as error:
                raise SpecError(f"model: {error}") from error
    return models


def _implied(sweep: Sweep) -> Iterator[Axis]:
    """GPUs and schedules that the workload names, where the sweep does not."""
    given = _given(sweep)
    for field, key in (("gpu", "gpus"), ("schedule", "schedules")):
        if field in given:
            continue
        values = sweep.workload.get(key)
        if not values:
            raise SpecError(f"product.{field}: expected values, or {key} in the workload")
        yield {field: expand(values, f"workload.{key}")}


def _axes(sweep: Sweep, kind: Kind) -> Axes:
    axes: Axes = []
    seen: dict[str, str] = {}
    for field, given in sweep.product.items():
        where = f"product.{plain(field)}"
        check_field(field, where, kind)
        _check_once(sweep, field, where, seen)
        axes.append({field: expand(given, where)})
    for i, group in enumerate(sweep.zip):
        columns: Axis = {}
        for field, given in group.items():
            where = f"zip[{i}].{plain(field)}"
            check_field(field, where, kind)
            _check_once(sweep, field, where, seen)
            columns[field] = expand(given, where)
        lengths = {len(values) for values in columns.values()}
        if len(lengths) != 1:
            counts = ", ".join(f"{len(values)} of {field}" for field, values in columns.items())
            counts = counts or "none"
            raise SpecError(f"zip[{i}]: expected fields with equally many values, found {counts}")
        axes.append(columns)
    return axes


def _check_once(sweep: Sweep, field: str, where: str, seen: dict[str, str]) -> None:
    if field in seen:
        raise SpecError(f"{where}: expected each field once, found it in {seen[field]} too")
    if field in sweep.derived:
        raise SpecError(f"{where}: expected each field once, found it in derived too")
    seen[field] = where


def _named(sweep: Sweep, file: Path) -> dict[str, Gpu]:
    """The what-if profiles of a sweep; each may extend an earlier one."""
    named: dict[str, Gpu] = {}
    for name, given in sweep.profiles.items():
        where = f"profiles.{plain(name)}"
        if name in shipped("hardware"):
            raise SpecError(f"{where}: expected a name of its own, found that of a profile")
        base = given.get("extends")
        if not isinstance(base, str):
            raise SpecError(
                f"{where}.extends: expected a GPU name or a file, found {excerpt(base)}"
            )
        changes = {key: change for key, change in given.items() if key != "extends"}
        profile = partial(_profile, file, named)
        try:
            gpu = profile(base)
            numbers: dict[str, float] = {}
            for field, change in changed_fields(changes).items():
                numbers |= numbers_of(gpu, field, change, profile)
            named[name] = what_if(gpu, numbers, name)
        except SpecError as error:
            raise SpecError(f"{where}: {error}") from error
    return named


def _profile(file: Path, named: Mapping[str, Gpu], name: str) -> Gpu:
    return named[name] if name in named else load_gpu(beside(file, name))


def _gpus(axes: Axes, profile: Profile) -> dict[str, Gpu]:
    """Profiles that the axes name, also those that numbers are taken from."""
    gpus: dict[str, Gpu] = {}
    for field, value in ((f, value) for axis in axes for f in axis for value in axis[f]):
        name = value
        if field.startswith("gpu.") and isinstance(value, Mapping) and "from" in value:
            name = value["from"]
        elif field != "gpu":
            continue
        if not isinstance(name, str) or not name:
            raise SpecError(f"{field}: expected a GPU name or a file, found {excerpt(value)}")
        if name not in gpus:
            try:
                gpus[name] = profile(name)
            except SpecError as error:
                raise SpecError(f"{field}: {error}") from error
    return gpus


def _changed(sweep: Sweep, profile: Profile) -> Iterator[str]:
    """Numbers that what-if profiles change."""
    for name, given in sweep.profiles.items():
        for field in changed_fields({k: v for k, v in given.items() if k != "extends"}):
            yield from fields_of(profile(name), field)


def _swept_numbers(sweep: Sweep, axes: Axes, gpus: Mapping[str, Gpu]) -> Iterator[str]:
    """Numbers of profiles that vary by themselves, or are computed; some GPU must have them."""
    swept = [field for axis in axes for field in axis]
    for field in [*swept, *sweep.derived]:
        if field.startswith("gpu."):
            yield number_field(field, gpus)
