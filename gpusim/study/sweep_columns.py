"""Columns of a sweep's rows: what identifies a point, its inputs, its results. Fixed beforehand."""

import json
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any, Literal

from gpusim.result import Result
from gpusim.schedules.step import Pipe
from gpusim.spec.model_workload import ModelWorkload
from gpusim.spec.sweep_fields import kind_of_workload, type_of
from gpusim.study.forward_pass import OPERATORS
from gpusim.study.sweep_plan import Plan

Kind = Literal["int", "float", "bool", "text"]

_TYPES: dict[str, type] = {"int": int, "float": float}
#: Whole numbers beyond 64 bits have no place in a column of Parquet.
_MAX_INT = 2**63 - 1

#: What a breakdown can consist of, beside pipes.
CAUSES = (
    *("hbm", "l2", "cta_latency", "load_latency", "sync", "fix_up"),
    *("unfilled", "tail", "launch"),
)
_KINDS: dict[type | None, Kind] = {int: "int", float: "float", bool: "bool"}

_TOTALS: dict[str, Kind] = {
    "approximation": "text",
    "time_us": "float",
    "bound": "text",
    "tflops": "float",
    "hbm_gb_per_s": "float",
    "flop.useful": "float",
    "flop.issued": "float",
    "occupancy.ctas_per_sm": "int",
    "occupancy.warps_per_sm": "int",
    "occupancy.fraction": "float",
    "occupancy.limiter": "text",
    "occupancy.achieved_fraction": "float",
    "occupancy.sm_busy_fraction": "float",
    "traffic.hbm_read_bytes": "float",
    "traffic.hbm_write_bytes": "float",
    "traffic.l2_to_sm_bytes": "float",
    "traffic.smem_bytes": "float",
    "traffic.compulsory_bytes": "float",
    "traffic.footprint_bytes": "float",
    "waves": "float",
    "energy_j": "float",
}
#: Of a model's step.
_STEP: dict[str, Kind] = {
    "model.weight_bytes": "float",
    "model.kv_bytes": "float",
    "model.attention_flop": "float",
    "model.attention_bytes": "float",
}
_MAIN: dict[str, Kind] = {
    "launch_count": "int",
    "main.name": "text",
    "main.ctas": "int",
    "main.threads": "int",
    "main.registers": "int",
    "main.smem_bytes": "int",
    "main.tile": "text",
}


def columns_of(plan: Plan) -> dict[str, Kind]:
    """Columns of a sweep in their order, with what they hold; any value may be missing.

    `index` is the number of the combination, `key` a digest of its inputs and the model's version,
    `sweep` one of the whole sweep. Then inputs as fields of the sweep, results with dots as in the
    JSON of a run, and `error`: why a point has no result. `main.` is the launch that speaks for
    the call's occupancy, `breakdown.` the shares of time, which add up to 1.
    """
    identity: dict[str, Kind] = {"index": "int", "key": "text", "sweep": "text"}
    models = kind_of_workload(plan.leaves) is ModelWorkload
    found = identity | input_columns(plan) | result_columns(models=models)
    if plan.launches:
        found["launches"] = "text"
    return found | {"error": "text"}


def result_columns(*, models: bool = False) -> dict[str, Kind]:
    """Columns of results, in order."""
    shares = OPERATORS if models else (*(p.value for p in Pipe), *CAUSES)
    breakdown: dict[str, Kind] = {f"breakdown.{name}": "float" for name in shares}
    pipes: dict[str, Kind] = {f"main.utilisation.{p.value}": "float" for p in Pipe}
    return _TOTALS | (_STEP if models else {}) | breakdown | _MAIN | pipes


def result_values(result: Result, *, launches: bool) -> dict[str, Any]:
    """The results of a run by column; shares and utilisations that it does not have are 0."""
    main, totals = result.main, result.totals()
    values = {name: _inner(totals, name) for name in _TOTALS}
    if result.step is None:
        shares = (*(pipe.value for pipe in Pipe), *CAUSES)
    else:
        shares = OPERATORS
        values |= {name: _inner(totals, name) for name in _STEP}
    values |= dict.fromkeys((f"breakdown.{name}" for name in shares), 0.0)
    for pipe in Pipe:
        values[f"main.utilisation.{pipe.value}"] = main.pipe_utilisation.get(pipe.value, 0.0)
    for cause, share in result.breakdown.items():
        values[f"breakdown.{cause}"] = share
    values["launch_count"] = len(result.launches)
    values["main.tile"] = " ".join(f"{k}={v}" for k, v in main.tile.items())
    for name in ("name", "ctas", "threads", "registers", "smem_bytes"):
        values[f"main.{name}"] = getattr(main, name)
    if launches:
        values["launches"] = result.as_dict()["launches"]
    return values


def _inner(totals: Mapping[str, Any], name: str) -> Any:
    section, _, key = name.partition(".")
    return totals[section][key] if key else totals[section]


def input_columns(plan: Plan) -> dict[str, Kind]:
    """Columns of inputs: workload, GPU with changed numbers, schedule with options, all others."""
    leaves = [name for name in plan.leaves if not name.startswith("gpu.")]
    ordered = ["workload", "gpu", *(f"gpu.{name}" for name in plan.changed), "schedule"]
    ordered += [n for n in leaves if n.startswith("schedule.")]
    ordered += [n for n in leaves if n not in ordered]
    return {name: _kind(plan, name) for name in ordered}


def _kind(plan: Plan, field: str) -> Kind:
    if field.startswith("gpu."):
        return "float"
    values = [plan.base.get(field), *plan.values_of(field)]
    given = [value for value in values if value is not None]
    known = _KINDS.get(type_of(field, kind_of_workload(plan.leaves)), "text")
    return kind_of(given) if given else known


def kind_of(values: Iterable[Any]) -> Kind:
    """What a column of such values holds.

    >>> kind_of([1, 2]), kind_of([1, 0.5]), kind_of(["steady", 0.5]), kind_of([])
    ('int', 'float', 'text', 'text')
    """
    kinds: set[type] = {type(value) for value in values}
    if kinds == {bool}:
        return "bool"
    if kinds == {int}:
        return "int"
    return "float" if kinds and kinds <= {int, float} else "text"


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def cell(value: Any, kind: Kind) -> str | float | None:
    """A value as `csv` shall write it: text stays on its line, a column holds nothing but its kind.

    >>> cell(None, "int"), cell(1, "float"), cell(True, "bool"), cell([1, 2], "text")
    (None, 1.0, 'true', '[1,2]')
    >>> cell(4.5, "int") is cell(10**20, "int") is None  # of tokens; the row's error says so
    True
    """
    if kind == "float" and type(value) is float:  # most of them
        return value
    if kind in ("int", "float"):
        return _number(value, kind)
    if value is None:
        return None
    if isinstance(value, str):
        return value if value.isprintable() else _one_line(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, dict)):
        return json.dumps(value, separators=(",", ":"))
    number: float = value
    return number


def _number(value: Any, kind: Kind) -> float | None:
    kept: float | None = value
    if isinstance(value, int) and abs(value) > _MAX_INT:
        return None
    if value is None or type(value) is _TYPES[kind]:
        return kept
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    if kind == "float":
        return float(value)
    return int(value) if isinstance(value, Integral) else None
