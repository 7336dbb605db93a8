"""JSON Schemas of the input files, as they are written (not as the code holds them)."""

from typing import Any

from gpusim.spec.gpu import Gpu
from gpusim.spec.lengths import Lengths
from gpusim.spec.model_workload import ModelWorkload
from gpusim.spec.plan import Plan
from gpusim.spec.provenance import LARGEST, SMALLEST, Kind
from gpusim.spec.sweep_schema import sweep_schema
from gpusim.spec.workload import Workload

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def file_schema(kind: str) -> dict[str, Any]:
    """Schema of a 'workload', a 'plan', a 'sweep' or a 'hardware' file."""
    made = {
        "workload": _workload,
        "plan": _plan,
        "sweep": sweep_schema,
        "hardware": _hardware,
    }
    return {"$schema": DRAFT} | made[kind]()


def _workload() -> dict[str, Any]:
    """A workload is of attention, or of a model."""
    attention, model = _attention_workload(), _model_workload()
    definitions = attention.pop("$defs") | model.pop("$defs")
    return {"type": "object", "anyOf": [attention, model], "$defs": definitions}


def _model_workload() -> dict[str, Any]:
    """The model may be just its name or file."""
    schema = ModelWorkload.model_json_schema()
    schema["properties"]["model"] = {
        "description": "shipped model, model file, Hugging Face config.json, or shapes",
        "anyOf": [{"type": "string"}, {"$ref": "#/$defs/Model"}],
    }
    return _with_plain_schedules(schema)


def _with_plain_schedules(schema: dict[str, Any]) -> dict[str, Any]:
    """A schedule may be just its name."""
    schedules = schema["properties"]["schedules"]
    schedules["items"] = {"anyOf": [{"type": "string"}, schedules["items"]]}
    return schema


def _attention_workload() -> dict[str, Any]:
    """`sequences` stand beside `attention`."""
    schema = Workload.model_json_schema()
    attention = schema["$defs"]["Attention"]
    schema["properties"]["sequences"] = attention["properties"].pop("sequences")
    attention["required"].remove("sequences")
    schema["required"].append("sequences")
    return _with_plain_schedules(schema)


def _plan() -> dict[str, Any]:
    """Lengths are a number or percentiles; a GPU may be just its name, and one degree no list."""
    schema = Plan.model_json_schema()
    schema["$defs"]["Lengths"] = Lengths.file_schema()
    gpus = schema["properties"]["gpus"]
    gpus["items"] = {"anyOf": [{"type": "string"}, gpus["items"]]}
    degrees = schema["properties"].pop("tensor_parallel")
    notes = {key: degrees.pop(key) for key in ("title", "description", "default") if key in degrees}
    schema["properties"]["tensor_parallel"] = notes | {"anyOf": [degrees["items"], degrees]}
    return schema


def _hardware() -> dict[str, Any]:
    """Numbers carry kind and source; all but the name may come from the profile it extends."""
    schema = Gpu.model_json_schema()
    schema["properties"].pop("provenance")
    for name in ("Provenance", "Nominal", "Kind"):
        schema["$defs"].pop(name)
    for section in schema["$defs"].values():
        section.pop("required", None)
        section["properties"] = {k: _sourced(v) for k, v in section["properties"].items()}
    schema["properties"]["extends"] = {
        "type": "string",
        "description": "name or file of a profile whose numbers this one starts from",
    }
    schema["required"] = ["name"]
    return schema


def _sourced(field: dict[str, Any]) -> dict[str, Any]:
    """Wrap a number, or each number of a mapping, in `{value, kind, source}`."""
    if "additionalProperties" in field:
        return field | {"additionalProperties": _sourced(field["additionalProperties"])}
    number = {k: v for k, v in field.items() if k not in ("title", "description")}
    leaf = _leaf(number, [kind.value for kind in Kind])
    nominal = _leaf(number, [kind.value for kind in Kind if kind is not Kind.CALIBRATED])
    leaf["properties"]["nominal"] = nominal | {"description": "the number without calibration"}
    leaf["properties"]["bounds"] = {
        "type": "array",
        "items": {"type": "number", "minimum": SMALLEST, "maximum": LARGEST},
        "minItems": 2,
        "maxItems": 2,
        "description": "least and greatest number that a calibration may set",
    }
    return {k: field[k] for k in ("title", "description") if k in field} | leaf


def _leaf(number: dict[str, Any], kinds: list[str]) -> dict[str, Any]:
    """A number with its kind and source."""
    return {
        "type": "object",
        "properties": {
            "value": number,
            "kind": {"enum": kinds},
            "source": {"type": "string", "minLength": 3},
        },
        "required": ["value", "kind", "source"],
        "additionalProperties": False,
    }
