"""Whatever a file holds, it loads or is refused with one line that names it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpusim.errors import SpecError
from gpusim.spec.load import load_gpu, load_workload
from gpusim.spec.load_model import load_any_workload, load_model

VALID: dict[str, Any] = {
    "name": "x",
    "gpus": ["a100_sxm_80gb"],
    "schedules": ["flash2", {"name": "flash2", "block_m": 64}],
    "l2": "warm",
    "load": 0.5,
    "attention": {"q_heads": 8, "kv_heads": 2, "head_dim": 64, "dtype": "fp16", "window": None},
    "sequences": [{"count": 1, "q_len": 1, "kv_len": 9}],
}
VALID_PROFILE: dict[str, Any] = {
    "extends": "a100_sxm_80gb",
    "name": "x",
    "sm": {"count": {"value": 1, "kind": "estimated", "source": "none"}},
    "l2": {"hit_mib": {"value": 1.5, "kind": "measured", "source": "none"}},
    "cta": {
        "sync_clocks": {
            **{"value": 9, "kind": "calibrated", "source": "none", "bounds": [1, 10]},
            "nominal": {"value": 2, "kind": "datasheet", "source": "none"},
        }
    },
}
VALID_MODEL: dict[str, Any] = {
    "name": "x",
    "schedules": ["flash2"],
    "model": {
        "hidden_size": 64,
        "vocab_size": 128,
        "q_heads": 4,
        "kv_heads": 2,
        "head_dim": 16,
        "mla": {"q_rank": None, "kv_rank": 32, "rope_dim": 8},
        "layers": [{"count": 2, "window": 4, "intermediate_size": 96}],
    },
    "tensor_parallel": 2,
    "overhead_us": 0.5,
    "sequences": [{"count": 1, "q_len": 1, "kv_len": 9}],
}
VALID_CONFIG: dict[str, Any] = {
    "model_type": "deepseek_v3",
    "hidden_size": 64,
    "intermediate_size": 96,
    "vocab_size": 128,
    "num_attention_heads": 4,
    "num_hidden_layers": 3,
    "layer_types": ["full_attention"] * 3,
    "tie_word_embeddings": False,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "first_k_dense_replace": 1,
    "moe_layer_freq": 1,
    "kv_lora_rank": 16,
    "q_lora_rank": None,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
}
WORDS = [
    *VALID,
    *VALID["attention"],
    *VALID_PROFILE,
    *VALID_MODEL,
    *VALID_MODEL["model"],
    *VALID_CONFIG,
    "text_config",
    "count",
    "value",
    "kind",
    "nominal",
    "bounds",
    "provenance",
    "<<",
]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(WORDS)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=3)
    ),
    max_leaves=8,
)


@st.composite
def mutations(draw: st.DrawFn, document: Any) -> Any:
    """A document with one value, somewhere in it, replaced, renamed or dropped."""
    if isinstance(document, dict) and document and draw(st.integers(0, 3)):
        key = draw(st.sampled_from(sorted(document)))
        rest = {k: v for k, v in document.items() if k != key}
        new = draw(st.sampled_from([key, key, key, *WORDS]))
        return rest | draw(st.just({}) | mutations(document[key]).map(lambda v: {new: v}))
    if isinstance(document, list) and document and draw(st.booleans()):
        return [*document[:-1], draw(mutations(document[-1]))]
    return draw(VALUES)


@pytest.mark.parametrize(
    ("load", "valid"),
    [(load_workload, VALID), (load_gpu, VALID_PROFILE), (load_any_workload, VALID_MODEL)],
)
@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_any_document_loads_or_is_refused(
    data: st.DataObject,
    load: Callable[[Path], object],
    valid: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_text(json.dumps(data.draw(mutations(valid)), ensure_ascii=False))
    message = ""
    try:
        load(path)
    except SpecError as error:
        message = str(error)
    assert message.startswith(f"{path}: ") or not message
    assert message.isprintable()


@pytest.mark.parametrize("kind", ["llama", "qwen3_moe", "gemma3", "deepseek_v3"])
@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_any_config_is_a_model_or_is_refused(
    data: st.DataObject, kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "config.json"
    document = data.draw(mutations(VALID_CONFIG | {"model_type": kind, "num_experts": 4}))
    path.write_text(json.dumps(document))
    message = ""
    try:
        assert load_model(path).parameters > 0
    except SpecError as error:
        message = str(error)
    assert message.startswith(f"{path}: ") or not message
    assert message.isprintable()


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(text=st.text(st.sampled_from("ab01:-?[]{},&*!|>'\"#%@ \n\t.<~")) | st.text())
def test_any_text_loads_or_is_refused(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_text(text, errors="replace")
    with pytest.raises(SpecError, match=r"fuzz.yaml"):
        load_workload(path)
