"""JSON Schema of a sweep file, as it is written."""

from typing import Any

from gpusim.spec.axis_values import Range
from gpusim.spec.sweep import Sweep


def sweep_schema() -> dict[str, Any]:
    """The base workload may be a name; values are a list, a range, or factors of either."""
    schema = Sweep.model_json_schema()
    properties = schema["properties"]
    base = properties["workload"]
    base["anyOf"] = [{"type": "string"}, {"type": "object"}]
    for key in ("type", "additionalProperties"):
        base.pop(key, None)
    plain = [{"type": "array", "minItems": 1}, {"$ref": "#/$defs/Range"}]
    factors = {
        "type": "object",
        "properties": {"times": {"anyOf": plain}},
        "required": ["times"],
        "additionalProperties": False,
    }
    schema.setdefault("$defs", {})["Values"] = {"anyOf": [*plain, factors]}
    schema["$defs"]["Range"] = Range.model_json_schema(by_alias=True)
    group = {"type": "object", "additionalProperties": {"$ref": "#/$defs/Values"}}
    properties["product"] = {"description": "values by field"} | group
    properties["zip"]["items"] = group
    return schema
