"""Part of a sweep, from numbers of combinations to lines of CSV: what one worker does at a time."""

import csv
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import tee
from typing import Any

from gpusim.errors import SpecError
from gpusim.result import Result
from gpusim.spec.fields import flatten, nested
from gpusim.spec.gpu import Gpu
from gpusim.spec.model_workload import AnyWorkload, ModelWorkload
from gpusim.spec.validate import validate
from gpusim.spec.workload import ScheduleChoice, Workload
from gpusim.study.cache import Cache, key_of
from gpusim.study.call import Call, call_of, predicted
from gpusim.study.model_version import model_version
from gpusim.study.predict import predict
from gpusim.study.simulate import check_engine
from gpusim.study.sweep_columns import Kind, cell, columns_of, result_values
from gpusim.study.sweep_plan import Plan, Point, plan_of

#: Digits of a row's key; results are kept under more.
KEY_DIGITS = 16

#: Of a point: its result, why it has none, or the values that a cache has.
Outcome = Result | Exception | dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Combinations `start` to `stop`, the last one not included, of the sweep that `plan` holds."""

    plan: str
    start: int
    stop: int
    cache: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Rows of a task, as lines of CSV.

    Attributes:
        stop: as in the task.
        rows: how many; fewer than combinations where conditions leave some out.
        text: the lines.
        errors: rows that failed, by reason.
        cached: rows whose result was known.
    """

    stop: int
    rows: int
    text: str
    errors: Counter[str]
    cached: int


def run_chunk(task: Task) -> Chunk:
    """Predict the points of a task.

    Raises:
        SpecError: if this process has another version of the model than the one that asks.
    """
    plan = plan_of(task.plan)
    if plan.version != model_version():
        raise SpecError(
            f"workers: expected the model's version {plan.version}, found {model_version()}"
        )
    columns, cache = _columns(task.plan), _cache(task.cache)
    text, errors, rows, cached = io.StringIO(), Counter[str](), 0, 0
    write = csv.writer(text, lineterminator="\n").writerow
    points = (plan.point(index) for index in range(task.start, task.stop))
    begun, again = tee((p, _key(plan, p)) for p in points if p is not None)
    outcomes: Iterator[Outcome] = predicted(_start(plan, p, key, cache) for p, key in begun)
    for (point, key), outcome in zip(again, outcomes, strict=True):
        found = _values(plan, outcome)
        if cache and isinstance(outcome, Result):
            cache.put(key, found)
        identity = {"index": point.index, "key": key[:KEY_DIGITS], "sweep": plan.digest}
        values = identity | point.fields | found
        write([cell(values.get(name), kind) for name, kind in columns.items()])
        rows += 1
        cached += isinstance(outcome, dict)
        if "error" in found:
            errors[found["error"]] += 1
    return Chunk(stop=task.stop, rows=rows, text=text.getvalue(), errors=errors, cached=cached)


@lru_cache(maxsize=4)
def _columns(text: str) -> dict[str, Kind]:
    return columns_of(plan_of(text))


@lru_cache(maxsize=4)
def _cache(folder: str | None) -> Cache | None:
    return Cache(folder) if folder is not None else None


def _start(plan: Plan, point: Point, key: str, cache: Cache | None) -> Call | Outcome:
    """The call or the result of a point, why it has none, or the values that the cache has."""
    found = cache.get(key) if cache else None
    if found is not None:
        return found
    try:
        if point.gpu is None or point.error:
            raise SpecError(point.error)
        return _run(plan, point.fields, point.gpu)
    except Exception as error:  # it costs its row, not the sweep
        return error


def _values(plan: Plan, outcome: Outcome) -> dict[str, Any]:
    """Results by column; of a failure, also of ours, what it says."""
    if isinstance(outcome, Result):
        return result_values(outcome, launches=plan.launches)
    if isinstance(outcome, SpecError):
        return {"error": str(outcome)}
    if isinstance(outcome, Exception):
        return {"error": f"failed: {type(outcome).__name__}: {outcome}"}
    return outcome


def _key(plan: Plan, point: Point) -> str:
    """A digest of all inputs; names of workloads and profiles are none."""
    inputs = {name: v for name, v in point.fields.items() if not name.startswith("gpu.")}
    if isinstance(inputs.get("model"), str):
        inputs["model"] = plan.models[inputs["model"]]
    for name in ("workload", "gpu"):
        del inputs[name]
    about = {"profile": point.profile, "launches": plan.launches, "version": plan.version}
    return key_of(inputs | {"": about})


def _run(plan: Plan, fields: dict[str, Any], gpu: Gpu) -> Call | Result:
    """Run one point, or make it ready to be run with others.

    Raises:
        SpecError: for a mistake in its fields, or if the schedule or the GPU cannot take it.
    """
    given = {name: value for name, value in fields.items() if not name.startswith("gpu")}
    engine, title = given.pop("engine"), given.pop("workload")
    name = given.pop("schedule")
    options = {k: given.pop(k) for k in [*given] if k.startswith("schedule.")}
    kept = {option: value for option, value in options.items() if value is not None}
    try:
        if isinstance(given.get("model"), str):  # then single shapes may vary beside
            given = flatten(plan.models[given.pop("model")], "model") | given
        chosen = nested(kept).get("schedule", {}) | {"name": name}
        document = nested(given)
    except ValueError as error:
        raise SpecError(str(error)) from error
    choice = validate(ScheduleChoice, chosen, "schedule", join=".")
    workload = _workload({"name": title} | document)
    check_engine(engine)
    if engine == "analytic" and isinstance(workload, Workload):
        return call_of(
            workload.attention,
            gpu,
            choice.name,
            choice.options,
            l2=workload.l2,
            load=workload.load,
            workload=workload.name,
        )
    return predict(workload, gpu, (choice,), engine=engine, strict=True).results[0]


def _workload(document: dict[str, Any]) -> AnyWorkload:
    if "model" in document:
        return validate(ModelWorkload, document, "", join="")
    return validate(Workload, document, "", join="")
