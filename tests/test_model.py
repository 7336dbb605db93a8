"""Models by their shapes: parameters against published counts, weights and KV cache in bytes."""

from typing import Any

import pytest

import gpusim
from gpusim.errors import SpecError
from gpusim.spec.layer import Layer
from gpusim.spec.load import shipped
from gpusim.spec.load_model import load_model
from gpusim.spec.model import Model
from gpusim.spec.projection import attention_projections, mlp_projections
from gpusim.spec.yaml_file import read_mapping

#: Billions of parameters, in all and for one token, as the model's card or paper has them. DeepSeek
#: and Qwen leave some of the embeddings out of what is active.
PUBLISHED = {
    "llama3_1_8b": (8.03, None),
    "llama3_1_70b": (70.6, None),
    "llama3_1_405b": (405.9, None),
    "llama3_2_3b": (3.21, None),
    "qwen2_5_7b": (7.62, None),
    "qwen2_5_72b": (72.7, None),
    "qwen3_8b": (8.19, None),
    "qwen3_32b": (32.8, None),
    "qwen3_30b_a3b": (30.5, 3.3),
    "mistral_7b": (7.24, None),
    "mixtral_8x7b": (46.7, 12.9),
    "gemma2_9b": (9.24, None),
    "gemma3_27b": (27.0, None),
    "gpt_oss_20b": (20.9, None),
    "gpt_oss_120b": (116.8, None),
    "deepseek_v3": (671.0, 37.0),
}

SMALL: dict[str, Any] = {
    "hidden_size": 64,
    "vocab_size": 128,
    "q_heads": 4,
    "kv_heads": 2,
    "head_dim": 16,
    "layers": [{"count": 3, "intermediate_size": 96}],
}


def small(**changes: Any) -> Model:
    """A model whose numbers can be worked out by hand."""
    return Model.model_validate(SMALL | changes)


def test_every_shipped_model_has_a_published_count() -> None:
    assert set(shipped("workloads/models")) == set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_those_published(name: str) -> None:
    model, (total, active) = load_model(name), PUBLISHED[name]
    assert model.parameters / 1e9 == pytest.approx(total, rel=0.01)
    if active is None:
        return
    assert model.active_parameters / 1e9 == pytest.approx(active, rel=0.02)


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_shipped_model_says_where_its_shapes_are_from(name: str) -> None:
    source = str(read_mapping(shipped("workloads/models")[name])["source"])
    assert source.startswith("https://huggingface.co/")
    assert source.endswith("/config.json")


def test_models_are_no_workloads() -> None:
    assert not set(shipped("workloads")) & set(shipped("workloads/models"))


def test_parameters_by_hand() -> None:
    # Q 64·64, K and V 64·32 each, O 64·64; gate, up and down 64·96; norms 2·64 a layer and 64.
    layer = 64 * 64 + 2 * 64 * 32 + 64 * 64 + 3 * 64 * 96 + 2 * 64
    assert small().parameters == 2 * 128 * 64 + 3 * layer + 64
    assert small(tied_embeddings=True).parameters == 128 * 64 + 3 * layer + 64
    assert small(gated=False).parameters == 2 * 128 * 64 + 3 * (layer - 64 * 96) + 64


def test_weights_by_hand_and_by_data_type() -> None:
    matrices = 3 * (64 * 64 + 2 * 64 * 32 + 64 * 64 + 3 * 64 * 96)
    rest = small().parameters - matrices
    assert small().weight_bytes() == 2 * small().parameters
    assert small().weight_bytes("fp8") == matrices + 2 * rest
    # Norms are held by both GPUs.
    norms = 3 * 2 * 64 + 64
    assert small().weight_bytes("bf16", 2) == matrices + (rest - norms) + 2 * norms


def test_a_cached_token_by_hand() -> None:
    assert small().kv_bytes_per_token() == 3 * 2 * (16 + 16) * 2
    assert small().kv_bytes_per_token("fp8") == 3 * 2 * (16 + 16)
    assert small().kv_bytes_per_token("bf16", 2) == 3 * 1 * (16 + 16) * 2
    assert small().kv_bytes_per_token("bf16", 4) == 3 * 1 * (16 + 16) * 2  # each head twice


def test_llama_3_8b_caches_128_kib_a_token() -> None:
    assert load_model("llama3_1_8b").kv_bytes_per_token() == 128 * 1024


def test_layers_with_a_window_hold_no_more_than_it() -> None:
    layers = [
        {"count": 2, "window": 100, "intermediate_size": 96},
        {"count": 1, "intermediate_size": 96},
    ]
    model, row = small(layers=layers), 2 * (16 + 16) * 2
    assert model.kv_bytes(50) == 3 * 50 * row
    assert model.kv_bytes(1000) == (2 * 100 + 1000) * row
    assert model.windows == {100: 2, None: 1}
    assert list(model.mlps.values()) == [3]


def test_a_latent_cache_is_held_by_every_gpu() -> None:
    deepseek = load_model("deepseek_v3")
    assert deepseek.kv_bytes_per_token() == 61 * (512 + 64) * 2
    assert deepseek.kv_bytes_per_token("bf16", 8) == deepseek.kv_bytes_per_token()


def test_the_layers_of_gemma_and_deepseek_by_kind() -> None:
    assert load_model("gemma3_27b").windows == {1024: 52, None: 10}
    dense, experts = load_model("deepseek_v3").mlps.items()
    assert (dense[1], dense[0].experts, dense[0].dense_size) == (3, 0, 18432)
    assert (experts[1], experts[0].experts, experts[0].dense_size) == (58, 256, 2048)


def test_projections_of_one_gpu_by_hand() -> None:
    model = load_model("llama3_1_70b")
    shapes = {p.name: (p.inputs, p.outputs) for p in attention_projections(model, 4)}
    assert shapes == {"qkv_proj": (8192, (16 + 2 * 2) * 128), "o_proj": (16 * 128, 8192)}
    shapes = {p.name: (p.inputs, p.outputs) for p in mlp_projections(model, model.layers[0], 4)}
    assert shapes == {"gate_up_proj": (8192, 2 * 7168), "down_proj": (7168, 8192)}


def test_gpus_share_all_that_they_can() -> None:
    """Weights of two GPUs together are those of one, and what both hold."""
    model = load_model("mixtral_8x7b")
    both = 2 * (32 * 4096 * 8 + (2 * 32 + 1) * 4096)  # routers and norms
    assert 2 * model.weight_bytes("bf16", 2) == model.weight_bytes() + both


@pytest.mark.parametrize(
    ("name", "degree", "part"),
    [
        ("llama3_1_8b", 3, "divisor of q_heads (32), found 3"),
        ("llama3_1_8b", 0, "divisor of q_heads (32), found 0"),
        ("qwen2_5_7b", 28, "divisor of intermediate_size (18944), found 28"),
        ("deepseek_v3", 3, "divisor of q_heads (128), found 3"),
    ],
)
def test_what_does_not_divide_is_refused(name: str, degree: int, part: str) -> None:
    model = load_model(name)
    for ask in (model.weight_bytes, model.kv_bytes_per_token):
        with pytest.raises(SpecError) as error:
            ask("bf16", degree)
        assert str(error.value).startswith("tensor_parallel: expected a")
        assert part in str(error.value)


def test_kv_heads_that_do_not_divide_are_refused() -> None:
    with pytest.raises(SpecError, match="divisor or a multiple of kv_heads"):
        small(q_heads=12, kv_heads=4, head_dim=16).check_parallel(6)


def test_experts_in_use() -> None:
    layer = Layer(count=1, intermediate_size=8, experts=8, experts_per_token=2)
    assert layer.active_experts(1) == 2
    assert layer.active_experts(2) == pytest.approx(8 * (1 - 0.75**2))
    assert layer.active_experts(1000) == pytest.approx(8)
    assert Layer(count=1, intermediate_size=8).active_experts(5) == 0


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ("hidden_size: 0", "hidden_size: expected at least 8, found 0"),
        ("hidden_size: big", "hidden_size: expected an integer, found 'big'"),
        ("q_heads: 6\nkv_heads: 4", "kv_heads: expected a divisor of q_heads (6), found 4"),
        ("layers: []", "layers: expected at least 1 entry, found []"),
        ("layers: [{count: 1}]", "layers[0].intermediate_size: expected a value, found none"),
        (
            "layers: [{count: 1, intermediate_size: 96, experts: 4}]",
            "layers[0].experts_per_token: expected 1 to 4, found 0",
        ),
        (
            "layers: [{count: 1, intermediate_size: 96, shared_experts: 1}]",
            "layers[0].shared_experts: expected only beside experts",
        ),
        ("hiden_size: 64", "hiden_size: expected a known key; did you mean 'hidden_size'?"),
        ("mla: {kv_rank: 64, rope_dim: 16}", "mla.rope_dim: expected less than head_dim (16)"),
    ],
)
def test_bad_shapes_are_refused_with_their_field(tmp_path: Any, changes: str, part: str) -> None:
    lines = {key: f"{key}: {value}" for key, value in SMALL.items() if key != "layers"}
    lines["layers"] = "layers: [{count: 3, intermediate_size: 96}]"
    for change in changes.split("\n"):
        lines[change.partition(":")[0]] = change
    path = tmp_path / "own.yaml"
    path.write_text("\n".join(lines.values()))
    with pytest.raises(SpecError) as error:
        load_model(path)
    assert str(error.value).startswith(f"{path}: ")
    assert part in str(error.value)


def test_an_unknown_model_names_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"expected a model name or a file.*'llama3_1_8b'"):
        gpusim.load_model("llama3_1_8bb")
