"""JSON Schemas of the input files, as they are written (not as the code holds them)."""

from typing import Any

from gpusim.spec.gpu import Gpu, Kind
from gpusim.spec.workload import Workload


def file_schema(kind: str) -> dict[str, Any]:
    """Schema of a 'workload' or a 'hardware' file."""
    return _workload() if kind == "workload" else _hardware()


def _workload() -> dict[str, Any]:
    schema = Workload.model_json_schema()
    attention = schema["$defs"]["Attention"]
    sequences = attention["properties"].pop("sequences")
    attention["required"].remove("sequences")
    schema["properties"]["sequences"] = sequences
    schema["required"].append("sequences")
    schedule = schema["properties"]["schedules"]
    schedule["items"] = {"anyOf": [{"type": "string"}, schedule["items"]]}
    return schema


def _hardware() -> dict[str, Any]:
    schema = Gpu.model_json_schema()
    schema["properties"].pop("provenance")
    schema["$defs"].pop("Provenance")
    for definition in schema["$defs"].values():
        for name, field in definition.get("properties", {}).items():
            definition["properties"][name] = _sourced(field)
    schema["properties"]["extends"] = {
        "type": "string",
        "description": "name or file of a profile whose numbers this one starts from",
    }
    schema["required"] = ["name"]  # the rest may come from the profile that it extends
    for definition in schema["$defs"].values():
        definition.pop("required", None)
    return schema


def _sourced(field: dict[str, Any]) -> dict[str, Any]:
    """Wrap a number in `{value, kind, source}`."""
    if "additionalProperties" in field:
        return field | {"additionalProperties": _sourced(field["additionalProperties"])}
    if field.get("type") not in ("number", "integer"):
        return field
    return {
        "type": "object",
        "description": field.pop("description", ""),
        "properties": {
            "value": field,
            "kind": {"enum": [kind.value for kind in Kind]},
            "source": {"type": "string", "minLength": 3},
        },
        "required": ["value", "kind", "source"],
        "additionalProperties": False,
    }
