"""The exported JSON Schemas accept what the loader accepts, and refuse what it refuses."""

import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from gpusim.spec.load import shipped
from gpusim.spec.schema import file_schema
from gpusim.spec.yaml_file import read_mapping

#: Keywords that say nothing of validity.
NOTES = {"$defs", "$schema", "title", "description", "default"}
TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "integer": int,
    "number": (int, float),
}


def accepts(root: dict[str, Any], value: Any, schema: dict[str, Any] | None = None) -> bool:
    """Whether a schema accepts a value: the keywords that the exported schemas use, no others."""
    schema = root if schema is None else schema
    return all(
        _holds(root, value, key, wanted, schema)
        for key, wanted in schema.items()
        if key not in NOTES
    )


def _holds(root: dict[str, Any], value: Any, key: str, wanted: Any, schema: dict[str, Any]) -> bool:
    if key in ("properties", "required", "additionalProperties", "propertyNames"):
        return not isinstance(value, dict) or _mapping_holds(root, value, key, wanted, schema)
    if key == "$ref":
        return accepts(root, value, root["$defs"][wanted.removeprefix("#/$defs/")])
    if key == "anyOf":
        return any(accepts(root, value, option) for option in wanted)
    if key == "items":
        return not isinstance(value, list) or all(accepts(root, v, wanted) for v in value)
    if key == "type":
        is_bool = isinstance(value, bool)
        return isinstance(value, TYPES[wanted]) and (wanted == "boolean" or not is_bool)
    simple: dict[str, Callable[[], bool]] = {
        "enum": lambda: value in wanted,
        "const": lambda: value == wanted,
        "minimum": lambda: not isinstance(value, (int, float)) or value >= wanted,
        "maximum": lambda: not isinstance(value, (int, float)) or value <= wanted,
        "multipleOf": lambda: not isinstance(value, int) or value % wanted == 0,
        "minLength": lambda: not isinstance(value, str) or len(value) >= wanted,
        "maxLength": lambda: not isinstance(value, str) or len(value) <= wanted,
        "pattern": lambda: not isinstance(value, str) or bool(re.search(wanted, value)),
        "minItems": lambda: not isinstance(value, list) or len(value) >= wanted,
        "maxItems": lambda: not isinstance(value, list) or len(value) <= wanted,
    }
    return simple[key]()


def _mapping_holds(
    root: dict[str, Any], value: dict[str, Any], key: str, wanted: Any, schema: dict[str, Any]
) -> bool:
    if key == "properties":
        return all(accepts(root, value[k], wanted[k]) for k in value.keys() & wanted.keys())
    if key == "required":
        return set(wanted) <= value.keys()
    if key == "propertyNames":
        return all(accepts(root, name, wanted) for name in value)
    others = [v for k, v in value.items() if k not in schema.get("properties", {})]
    if isinstance(wanted, bool):
        return wanted or not others
    return all(accepts(root, v, wanted) for v in others)


def files(kind: str) -> list[Any]:
    """The shipped files of a kind, as test cases."""
    return [pytest.param(path, id=name) for name, path in shipped(kind).items()]


def renamed(node: Any, path: str) -> Any:
    """A copy of a document with the last key of a path misspelt."""
    *parents, key = path.split(".")
    copy = deepcopy(node)
    inner = copy
    for step in parents:
        inner = inner[int(step) if step.isdigit() else step]
    inner[f"{key}x"] = inner.pop(key)
    return copy


@pytest.mark.parametrize("path", files("workloads"))
def test_every_shipped_workload_is_accepted(path: Any) -> None:
    assert accepts(file_schema("workload"), read_mapping(path))


@pytest.mark.parametrize("path", files("workloads/plans"))
def test_every_shipped_plan_is_accepted(path: Any) -> None:
    assert accepts(file_schema("plan"), read_mapping(path))


@pytest.mark.parametrize(
    "key",
    [
        "model",
        "gpus.0.usd_per_hour",
        "traffic",
        "traffic.prompt_tokens.p50",
        "targets.ttft_ms",
    ],
)
def test_a_misspelt_key_of_a_plan_is_refused(key: str) -> None:
    document = read_mapping(shipped("workloads/plans")["a100_or_h100"])
    assert not accepts(file_schema("plan"), renamed(document, key))


@pytest.mark.parametrize(
    "change",
    [
        {"gpus": "h100_sxm"},
        {"gpus": []},
        {"tensor_parallel": [0]},
        {"headroom": "much"},
        {"traffic": {"rate_per_s": 1, "prompt_tokens": 0, "output_tokens": 1}},
        {"traffic": {"rate_per_s": 1, "prompt_tokens": {"p50": 0.5}, "output_tokens": 1}},
    ],
    ids=str,
)
def test_a_bad_value_of_a_plan_is_refused(change: dict[str, Any]) -> None:
    document = read_mapping(shipped("workloads/plans")["chat_8b"])
    assert not accepts(file_schema("plan"), document | change)
    good = {"tensor_parallel": 2, "traffic": {"csv": "requests.csv"}}
    assert accepts(file_schema("plan"), document | good)


@pytest.mark.parametrize("path", files("hardware"))
def test_every_shipped_profile_is_accepted(path: Any) -> None:
    assert accepts(file_schema("hardware"), read_mapping(path))


@pytest.mark.parametrize(
    "key", ["gpus", "attention", "attention.dtype", "sequences", "sequences.0.count"]
)
def test_a_misspelt_key_of_a_workload_is_refused(key: str) -> None:
    document = read_mapping(shipped("workloads")["llama3_8b_decode"])
    assert not accepts(file_schema("workload"), renamed(document, key))


@pytest.mark.parametrize(
    "key",
    [
        "name",
        "sm",
        "sm.count",
        "sm.count.value",
        "sm.count.source",
        "tensor.mma_sync_flop_per_clock.bf16",
        "tensor.mma_sync_flop_per_clock.bf16.kind",
    ],
)
def test_a_misspelt_key_of_a_profile_is_refused(key: str) -> None:
    document = read_mapping(shipped("hardware")["a100_sxm_80gb"])
    assert not accepts(file_schema("hardware"), renamed(document, key))


@pytest.mark.parametrize(
    "change",
    [
        {"gpus": "a100_sxm_80gb"},
        {"schedules": [5]},
        {"schedules": [{"block_m": 64}]},
        {"l2": "wram"},
        {"load": "stedy"},
        {"sequences": []},
        {"sequences": [{"q_len": 0, "kv_len": 1}]},
        {"attention": {"q_heads": 1, "kv_heads": 1, "head_dim": 100}},
        {"attention": {"q_heads": True, "kv_heads": 1, "head_dim": 64}},
        {"attention": {"q_heads": 1, "kv_heads": 1, "head_dim": 64, "sequences": []}},
    ],
    ids=str,
)
def test_a_bad_value_of_a_workload_is_refused(change: dict[str, Any]) -> None:
    document = read_mapping(shipped("workloads")["llama3_8b_decode"])
    assert not accepts(file_schema("workload"), document | change)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model", 5),
        ("model", {"hidden_size": 64}),
        ("tensor_parallel", 0),
        ("weight_dtype", "int4"),
        ("overhead_us", -1),
        ("sequences", []),
        ("modle", "llama3_1_8b"),
        ("attention", {"q_heads": 1, "kv_heads": 1, "head_dim": 64}),
    ],
)
def test_a_bad_value_of_a_workload_of_a_model_is_refused(key: str, value: Any) -> None:
    document = read_mapping(shipped("workloads")["llama3_8b_forward_decode"])
    assert accepts(file_schema("workload"), document)
    assert not accepts(file_schema("workload"), document | {key: value})


@pytest.mark.parametrize("name", shipped("workloads/models"))
def test_shapes_may_stand_in_the_workload(name: str) -> None:
    document = read_mapping(shipped("workloads")["llama3_8b_forward_decode"])
    shapes = read_mapping(shipped("workloads/models")[name])
    assert accepts(file_schema("workload"), document | {"model": shapes})


def test_the_state_of_the_machine_and_options_of_schedules_are_accepted() -> None:
    document = read_mapping(shipped("workloads")["llama3_8b_decode"])
    options = {"schedules": ["flash2", {"name": "flash2", "block_m": 64}]}
    assert accepts(file_schema("workload"), document | options | {"l2": "warm", "load": 0.5})


def test_a_number_without_source_is_refused() -> None:
    document = read_mapping(shipped("hardware")["rtx_6000_ada"])
    assert not accepts(file_schema("hardware"), document | {"sm": {"count": 142}})
