"""Reads the `config.json` of a Hugging Face repository into a `Model`.

Which fields a `model_type` has, and what they are where the file leaves them out, is from
transformers `models/*/configuration_*.py`. What does not change sizes (rotary scaling, biases,
activations) is not read; how the checkpoint is quantised is told as not counted.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gpusim.errors import SpecError, excerpt, nearest
from gpusim.spec.hf_fields import Fields
from gpusim.spec.hf_layers import dense_or_experts, layer_windows, merged_layers
from gpusim.spec.model import Model
from gpusim.spec.validate import validate
from gpusim.spec.yaml_file import read_text

#: By model type, what its configuration class assumes for a field that the file leaves out.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"num_key_value_heads": 8, "sliding_window": 4096},
    "mixtral": {"num_key_value_heads": 8, "num_local_experts": 8, "num_experts_per_tok": 2},
    "qwen2": {},
    "qwen3": {"head_dim": 128},
    "qwen3_moe": {"decoder_sparse_step": 1},
    "gemma": {"head_dim": 256, "tie_word_embeddings": True},
    "gemma2": {
        "head_dim": 256,
        "num_key_value_heads": 4,
        "sliding_window": 4096,
        "tie_word_embeddings": True,
    },
    "gemma3_text": {
        "vocab_size": 262208,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "sliding_window": 4096,
        "sliding_window_pattern": 6,
        "tie_word_embeddings": True,
    },
    "gpt_oss": {"head_dim": 64, "num_key_value_heads": 8, "sliding_window": 128},
    "phi3": {},
    "deepseek_v2": {},
    "deepseek_v3": {},
}
#: The text model inside a wrapper for images, where it does not name its own type.
_WRAPPED = {"gemma3": "gemma3_text"}


def read_config(path: Path) -> Model:
    """Return the model that a `config.json` describes.

    Raises:
        SpecError: naming file and field, if it is malformed, a size is missing, or the model is of
            a type that cannot be represented.
    """
    try:
        fields = _text_model(_read_json(path))
        values = _values(fields)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from error
    return validate(Model, {"name": _name(path), "source": str(path)} | values, path)


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        document = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise SpecError(f"expected valid JSON: {error.msg} (line {error.lineno})") from error
    except (ValueError, RecursionError) as error:
        raise SpecError("expected JSON of plain numbers and few levels") from error
    if not isinstance(document, dict):
        raise SpecError(f"expected a mapping of keys, found {excerpt(document)}")
    return document


def _name(path: Path) -> str:
    """The folder's name, as a repository is cloned."""
    return path.resolve().parent.name if path.stem == "config" else path.stem


def _text_model(document: Mapping[str, Any]) -> Fields:
    """The fields of the language model, with its type's defaults."""
    kind, inner = document.get("model_type"), document.get("text_config")
    where = ""
    if isinstance(inner, dict):
        kind, document, where = inner.get("model_type", kind), inner, "text_config."
    kind = _WRAPPED.get(str(kind), kind)
    if not isinstance(kind, str) or kind not in _DEFAULTS:
        known = ", ".join(_DEFAULTS)
        found = "none" if kind is None else excerpt(kind)
        hint = nearest(str(kind), _DEFAULTS)
        raise SpecError(f"{where}model_type: expected one of {known}, found {found}{hint}")
    return Fields(kind=kind, given=document, defaults=_DEFAULTS[kind], where=where)


def _values(fields: Fields) -> dict[str, Any]:
    """What all types have in common, and then what is the type's own."""
    hidden, heads = fields.integer("hidden_size"), fields.integer("num_attention_heads")
    common = {
        "hidden_size": hidden,
        "vocab_size": fields.integer("vocab_size"),
        "tied_embeddings": fields.flag("tie_word_embeddings"),
        "q_heads": heads,
        "left_out": _left_out(fields),
        "layers": merged_layers(dense_or_experts(fields), layer_windows(fields)),
    }
    special = _SPECIAL.get(fields.kind)
    own = special(fields) if special else {}
    return common | _heads(fields, hidden, heads) | own


def _heads(fields: Fields, hidden: int, heads: int) -> dict[str, Any]:
    if fields.kind.startswith("deepseek"):
        return {}
    head_dim = fields.optional("head_dim")
    if head_dim is None and hidden % heads:
        raise SpecError(
            f"{fields.where}num_attention_heads: expected a divisor of hidden_size ({hidden}),"
            f" found {heads}"
        )
    return {
        "kv_heads": fields.optional("num_key_value_heads") or heads,
        "head_dim": head_dim or hidden // heads,
    }


def _left_out(fields: Fields) -> list[str]:
    found = []
    if fields.given.get("attn_logit_softcapping") or fields.given.get("final_logit_softcapping"):
        found.append("soft caps of logits")
    if fields.kind == "gpt_oss":
        found.append("attention sinks")
    if fields.where:
        found.append("the encoders of images or sound")
    if fields.given.get("num_nextn_predict_layers"):
        found.append("multi-token prediction")
    if fields.given.get("quantization_config"):
        found.append("the checkpoint's quantisation: weights are of weight_dtype")
    return found


def _latent(fields: Fields) -> dict[str, Any]:
    """DeepSeek: every query head has a key of its own, partly with rotary positions."""
    rope = fields.integer("qk_rope_head_dim")
    return {
        "kv_heads": fields.integer("num_attention_heads"),
        "head_dim": fields.integer("qk_nope_head_dim") + rope,
        "v_head_dim": fields.integer("v_head_dim"),
        "mla": {
            "q_rank": fields.optional("q_lora_rank"),
            "kv_rank": fields.integer("kv_lora_rank"),
            "rope_dim": rope,
        },
    }


_SPECIAL: dict[str, Callable[[Fields], dict[str, Any]]] = {
    "qwen3": lambda _: {"qk_norm": True},
    "qwen3_moe": lambda _: {"qk_norm": True},
    "gemma2": lambda _: {"norms_per_layer": 4},
    "gemma3_text": lambda _: {"norms_per_layer": 4, "qk_norm": True},
    "deepseek_v2": _latent,
    "deepseek_v3": _latent,
}
