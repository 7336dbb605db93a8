"""Hugging Face `config.json` files: sizes, layer patterns, defaults, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from gpusim.errors import SpecError
from gpusim.spec.load import shipped
from gpusim.spec.load_model import load_model

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
#: What the files of the shipped models have, as far as it is read.
SHIPPED: dict[str, dict[str, Any]] = {
    "llama3_1_8b": LLAMA,
    "qwen3_8b": LLAMA
    | {
        "model_type": "qwen3",
        "intermediate_size": 12288,
        "num_hidden_layers": 36,
        "vocab_size": 151936,
        "head_dim": 128,
        "sliding_window": None,
        "use_sliding_window": False,
        "max_window_layers": 36,
    },
    "qwen2_5_7b": {
        "model_type": "qwen2",
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_attention_heads": 28,
        "num_hidden_layers": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
        "sliding_window": 131072,
        "use_sliding_window": False,
        "tie_word_embeddings": False,
    },
    "qwen3_30b_a3b": {
        "model_type": "qwen3_moe",
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "moe_intermediate_size": 768,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "num_attention_heads": 32,
        "num_hidden_layers": 48,
        "num_key_value_heads": 4,
        "head_dim": 128,
        "vocab_size": 151936,
    },
    "mistral_7b": LLAMA | {"model_type": "mistral", "vocab_size": 32000, "sliding_window": 4096},
    "mixtral_8x7b": LLAMA
    | {
        "model_type": "mixtral",
        "vocab_size": 32000,
        "sliding_window": None,
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
    },
    "gemma2_9b": {
        "model_type": "gemma2",
        "hidden_size": 3584,
        "intermediate_size": 14336,
        "num_attention_heads": 16,
        "num_hidden_layers": 42,
        "num_key_value_heads": 8,
        "head_dim": 256,
        "vocab_size": 256000,
        "sliding_window": 4096,
        "attn_logit_softcapping": 50.0,
    },
    "gemma3_27b": {
        "model_type": "gemma3",
        "vision_config": {"hidden_size": 1152},
        "text_config": {
            "model_type": "gemma3_text",
            "hidden_size": 5376,
            "intermediate_size": 21504,
            "num_attention_heads": 32,
            "num_hidden_layers": 62,
            "num_key_value_heads": 16,
            "head_dim": 128,
            "sliding_window": 1024,
        },
    },
    "gpt_oss_20b": {
        "model_type": "gpt_oss",
        "hidden_size": 2880,
        "intermediate_size": 2880,
        "num_attention_heads": 64,
        "num_hidden_layers": 24,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "vocab_size": 201088,
        "num_local_experts": 32,
        "num_experts_per_tok": 4,
        "sliding_window": 128,
        "layer_types": ["sliding_attention", "full_attention"] * 12,
    },
    "deepseek_v3": {
        "model_type": "deepseek_v3",
        "hidden_size": 7168,
        "intermediate_size": 18432,
        "moe_intermediate_size": 2048,
        "first_k_dense_replace": 3,
        "moe_layer_freq": 1,
        "n_routed_experts": 256,
        "n_shared_experts": 1,
        "num_experts_per_tok": 8,
        "num_attention_heads": 128,
        "num_key_value_heads": 128,
        "num_hidden_layers": 61,
        "num_nextn_predict_layers": 1,
        "kv_lora_rank": 512,
        "q_lora_rank": 1536,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "v_head_dim": 128,
        "vocab_size": 129280,
    },
}


def written(folder: Path, config: dict[str, Any]) -> Path:
    """A folder as a repository is cloned, with its `config.json`."""
    repository = folder / "Some-Model-8B"
    repository.mkdir(exist_ok=True)
    (repository / "config.json").write_text(json.dumps(config))
    return repository / "config.json"


@pytest.mark.parametrize("name", SHIPPED)
def test_the_file_of_a_shipped_model_gives_the_same_shapes(name: str, tmp_path: Path) -> None:
    ours = load_model(name)
    theirs = load_model(written(tmp_path, SHIPPED[name]))
    apart = {"name", "source", "left_out"}
    assert theirs.model_dump(exclude=apart) == ours.model_dump(exclude=apart)
    assert bool(theirs.left_out) == bool(ours.left_out)


def test_the_quantisation_of_a_checkpoint_is_told(tmp_path: Path) -> None:
    config = LLAMA | {"quantization_config": {"quant_method": "awq", "bits": 4}}
    assert load_model(written(tmp_path, config)).left_out == (
        "the checkpoint's quantisation: weights are of weight_dtype",
    )


def test_a_folder_with_a_config_is_a_model_by_its_name(tmp_path: Path) -> None:
    path = written(tmp_path, LLAMA)
    model = load_model(path.parent)
    assert model.name == "Some-Model-8B"
    assert model.source == str(path)
    assert model == load_model(path)


def test_sizes_left_out_are_those_of_the_type(tmp_path: Path) -> None:
    config = {k: v for k, v in LLAMA.items() if k != "num_key_value_heads"}
    assert load_model(written(tmp_path, config)).kv_heads == 32
    config["model_type"] = "mistral"
    mistral = load_model(written(tmp_path, config))
    assert (mistral.kv_heads, mistral.windows) == (8, {4096: 32})
    config |= {"model_type": "gemma", "head_dim": 256, "num_key_value_heads": 16}
    config.pop("tie_word_embeddings")
    assert load_model(written(tmp_path, config)).tied_embeddings


def test_windows_by_pattern(tmp_path: Path) -> None:
    qwen = LLAMA | {
        "model_type": "qwen2",
        "use_sliding_window": True,
        "sliding_window": 4096,
        "max_window_layers": 20,
    }
    assert load_model(written(tmp_path, qwen)).windows == {None: 20, 4096: 12}
    gemma = SHIPPED["gemma3_27b"]["text_config"] | {"sliding_window_pattern": 2}
    assert load_model(written(tmp_path, gemma)).windows == {1024: 31, None: 31}


def test_dense_layers_among_those_with_experts(tmp_path: Path) -> None:
    config = SHIPPED["qwen3_30b_a3b"] | {"decoder_sparse_step": 2, "mlp_only_layers": [1]}
    layers = load_model(written(tmp_path, config)).layers
    assert [(la.count, la.experts, la.intermediate_size) for la in layers] == [
        (25, 0, 6144),
        (23, 128, 768),
    ]


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"model_type": "mamba"}, "model_type: expected one of llama, "),
        ({"model_type": "lama"}, "found 'lama'; did you mean 'llama'?"),
        ({"model_type": None}, "model_type: expected one of"),
        ({"model_type": ["llama"]}, "model_type: expected one of"),
        ({"hidden_size": None}, "hidden_size: expected an integer, found none"),
        ({"hidden_size": "4096"}, "hidden_size: expected an integer of at least 1, found '4096'"),
        ({"hidden_size": 4096.0}, "hidden_size: expected an integer of at least 1, found 4096.0"),
        ({"hidden_size": 4100}, "num_attention_heads: expected a divisor of hidden_size (4100)"),
        ({"num_attention_heads": 0}, "num_attention_heads: expected an integer of at least 1"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers: expected at most 4096"),
        ({"num_hidden_layers": True}, "num_hidden_layers: expected an integer of at least 1"),
        ({"num_key_value_heads": 5}, "kv_heads: expected a divisor of q_heads (32), found 5"),
        ({"tie_word_embeddings": "no"}, "tie_word_embeddings: expected true or false, found 'no'"),
        ({"vocab_size": 10**12}, "vocab_size: expected at most"),
        ({"layer_types": ["full_attention"]}, "layer_types: expected a list of 32"),
        (
            {"layer_types": ["linear_attention"] * 32},
            "layer_types[0]: expected sliding_attention or full_attention",
        ),
        ({"model_type": "mixtral", "num_local_experts": "8"}, "num_local_experts: expected an"),
        ({"model_type": "deepseek_v3"}, "qk_rope_head_dim: expected an integer, found none"),
        (
            {"model_type": "x", "text_config": {"model_type": "y"}},
            "text_config.model_type: expected one of",
        ),
        (
            {"text_config": {"model_type": "llama"}},
            "text_config.hidden_size: expected an integer, found none",
        ),
    ],
    ids=str,
)
def test_a_config_is_refused_with_file_and_field(
    tmp_path: Path, changes: dict[str, Any], part: str
) -> None:
    path = written(tmp_path, LLAMA | changes)
    with pytest.raises(SpecError) as error:
        load_model(path)
    assert str(error.value).startswith(f"{path}: ")
    assert part in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "expected valid JSON: "),
        (b'{"model_type": "llama",', "expected valid JSON: "),
        (b"[1, 2]", "expected a mapping of keys, found [1, 2]"),
        (b'"llama"', "expected a mapping of keys, found 'llama'"),
        (b"[" * 100_000, "expected JSON of plain numbers and few levels"),
        (b'{"hidden_size": ' + b"9" * 5000 + b"}", "expected JSON of plain numbers"),
        (bytes(range(256)), "expected UTF-8 text, found binary data"),
    ],
    ids=range(7),
)
def test_a_file_that_is_no_json_mapping_is_refused(
    tmp_path: Path, content: bytes, part: str
) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(SpecError) as error:
        load_model(path)
    assert str(error.value).startswith(f"{path}: ")
    assert part in str(error.value)


def test_every_shipped_model_of_a_supported_type_has_a_name_of_its_own() -> None:
    names = [load_model(name).name for name in shipped("workloads/models")]
    assert len(set(names)) == len(names)
