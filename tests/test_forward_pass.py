"""Forward passes: each operator by hand, the sums, lower bounds, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli

import gpusim
from gpusim.errors import SpecError
from gpusim.launch_result import LaunchResult
from gpusim.machine.all_reduce import all_reduce_us
from gpusim.result import Result
from gpusim.schedules.decoder import Decoder
from gpusim.spec.attention import DType, Sequence
from gpusim.spec.load import load_gpu, shipped
from gpusim.spec.load_model import load_model, load_model_workload
from gpusim.spec.yaml_file import read_mapping
from gpusim.study.gemm import predict_gemm

ENGINES = ("sim", "analytic")
DECODE = (Sequence(count=8, q_len=1, kv_len=2048),)
OF_MODELS = [n for n, path in shipped("workloads").items() if "model" in read_mapping(path)]


def forward(
    model: str = "llama3_1_8b",
    sequences: tuple[Sequence, ...] = DECODE,
    gpu: str = "h100_sxm",
    schedule: str = "vllm_flash_attn_3",
    **options: Any,
) -> Result:
    """A forward pass, by the closed form unless said otherwise."""
    return gpusim.forward_pass(
        model, sequences, gpu, schedule, **({"engine": "analytic"} | options)
    )


def rows(result: Result) -> dict[str, LaunchResult]:
    """Launches by name, without the kernel of a product."""
    return {la.name.partition(":")[0]: la for la in result.launches}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("gpu", shipped("hardware"))
def test_a_decode_step_takes_at_least_the_time_to_read_its_weights(gpu: str, engine: str) -> None:
    """Llama-3 8B at batch 1: 7.5 GB of projections and a head of 1.05 GB, once each."""
    result = forward(
        sequences=(Sequence(q_len=1, kv_len=128),),
        gpu=gpu,
        schedule="flash2_split_kv",
        engine=engine,
    )
    read = load_model("llama3_1_8b").weight_bytes() - 2 * 128256 * 4096  # not the embedding
    least_us = read / (load_gpu(gpu).hbm.sustained_gb_per_s * 1e3)
    assert least_us < result.time_us < 1.6 * least_us
    assert result.bound == "gemm"


@pytest.mark.parametrize("engine", ENGINES)
def test_operators_add_up_to_the_time(engine: str) -> None:
    result = forward("mixtral_8x7b", tensor_parallel=2, overhead_us=300.0, engine=engine)
    times = dict.fromkeys(result.breakdown, 0.0)
    for la in result.launches:
        times[la.operator] += la.calls * (la.gap_us + la.time_us)
    assert set(times) == {"attention", "gemm", "norms", "all_reduce", "head", "framework"}
    assert sum(times.values()) == pytest.approx(result.time_us)
    assert sum(result.breakdown.values()) == pytest.approx(1)
    for name, share in result.breakdown.items():
        assert share == pytest.approx(times[name] / result.time_us)
    assert result.bound == max(times, key=lambda name: times[name])
    assert times["framework"] == 300


def test_every_operator_is_the_part_it_stands_for() -> None:
    """Llama-3 70B on four GPUs, 8 decodes: shapes and bytes by hand."""
    result = forward("llama3_1_70b", tensor_parallel=4)
    gpu, found = load_gpu("h100_sxm"), rows(result)
    shapes = {
        "qkv_proj": (16 * 128 + 2 * 2 * 128, 8192),
        "o_proj": (8192, 16 * 128),
        "gate_up_proj": (2 * 28672 // 4, 8192),
        "down_proj": (8192, 28672 // 4),
        "lm_head": (128256 // 4, 8192),
    }
    for name, (n, k) in shapes.items():
        mine = [la for la in result.launches if la.name.startswith(f"{name}:")]
        alone = predict_gemm(gpu, 8, n, k)
        assert [la.time_us for la in mine] == [la.time_us for la in alone], name
        assert {la.calls for la in mine} == {1 if name == "lm_head" else 80}
    hidden = 8 * 8192 * 2
    assert found["all_reduce"].time_us == all_reduce_us(gpu, hidden, 4)
    assert found["all_reduce"].calls == 160
    assert found["gather_logits"].time_us == all_reduce_us(gpu, 8 * 128256 * 2 / 2, 4)
    norm = found["fused_add_rms_norm"]
    assert (norm.calls, norm.hbm_read_bytes + norm.hbm_write_bytes) == (161, 4 * hidden)
    rotary = found["rotary_embedding"]
    assert rotary.l2_to_sm_bytes == 8 * (16 + 2) * 128 * 2
    activation = found["act_and_mul"]
    assert activation.l2_to_sm_bytes == 2 * activation.hbm_write_bytes == 8 * 2 * 7168 * 2


def test_attention_is_that_of_one_gpu_in_every_layer() -> None:
    attention = gpusim.Attention(q_heads=16, kv_heads=2, head_dim=128, sequences=DECODE)
    alone = gpusim.simulate(attention, "h100_sxm", "vllm_flash_attn_3", "analytic")
    result = forward("llama3_1_70b", tensor_parallel=4)
    mine = [la for la in result.launches if la.operator == "attention"]
    assert [la.name for la in mine] == [la.name for la in alone.launches]
    assert {la.calls for la in mine} == {80}
    assert sum(la.total_us for la in mine) == pytest.approx(80 * alone.time_us)


def test_a_schedule_without_a_cache_write_gets_one() -> None:
    plain = rows(forward(schedule="flash2_split_kv"))["cache_write"]
    shipped_own = [la for la in forward().launches if la.name == "cache_write"]
    assert plain.hbm_write_bytes == 8 * 2 * 8 * 128 * 2
    assert len(shipped_own) == 1


def test_each_window_has_rows_of_its_own() -> None:
    found = forward("gemma3_27b", schedule="flash3").launches
    calls = {la.name: la.calls for la in found if la.name.startswith("flash_fwd")}
    assert calls == {"flash_fwd_sm90 (window 1024)": 52, "flash_fwd_sm90": 10}
    (write,) = (la for la in found if la.name == "cache_write")
    assert write.calls == 62


def test_experts_in_use_take_equal_shares_of_the_tokens() -> None:
    """8 tokens use 8·(1 - 0.75^8) = 7.2 experts: 7 products of 3 rows each."""
    products = {
        p.projection.name: p for p in Decoder(model=load_model("mixtral_8x7b")).products(8, 8)
    }
    gate_up = products["experts_gate_up_proj"]
    assert (gate_up.groups, gate_up.rows, gate_up.useful_rows) == (7, 3, 16)
    assert gate_up.useful_flop == 2 * 16 * 4096 * 28672 * 32
    assert products["router"].rows == 8


def test_useful_flop_is_two_a_parameter_and_token() -> None:
    """Prefill of 4096 tokens by Mixtral: 12.9 B parameters take part, the embedding does not."""
    result = forward("mixtral_8x7b", (Sequence(q_len=4096, kv_len=4096),), schedule="flash3")
    assert result.step is not None
    model = load_model("mixtral_8x7b")
    inner = model.active_parameters - 2 * 32000 * 4096 - (2 * 32 + 1) * 4096
    head = 2.0 * 32000 * 4096  # of the last token alone
    expected = 2.0 * 4096 * inner + head + result.step.attention_flop
    assert result.useful_flop == pytest.approx(expected, rel=1e-9)


def test_fp8_projections_read_half_and_leave_the_head_alone() -> None:
    plain, fp8 = rows(forward()), rows(forward(weight_dtype="fp8"))
    names = [name for name in plain if name.endswith("_proj")]
    assert names == ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]
    for name in ("qkv_proj", "gate_up_proj"):
        assert fp8[name].hbm_read_bytes == pytest.approx(plain[name].hbm_read_bytes / 2, rel=0.05)
    assert fp8["lm_head"] == plain["lm_head"]
    assert "quantise_o" in fp8
    assert "quantise_o" not in plain


def test_more_gpus_are_faster() -> None:
    steps = [forward("llama3_1_70b", tensor_parallel=tp) for tp in (1, 2, 4, 8)]
    times = [step.time_us for step in steps]
    assert times == sorted(times, reverse=True)
    assert "all_reduce" not in steps[0].breakdown


def test_energy_is_of_all_gpus() -> None:
    result, gpu = forward("llama3_1_70b", tensor_parallel=4), load_gpu("h100_sxm")
    flop, seconds = result.total("issued_flop"), result.time_us / 1e6
    work = (
        gpu.power.tensor_pj_per_flop * flop + gpu.power.hbm_pj_per_byte * result.hbm_bytes
    ) / 1e12
    assert result.energy_j == pytest.approx(4 * (gpu.power.idle_w * seconds + work))


def test_overhead_is_added_as_stated() -> None:
    assert forward(overhead_us=500.0).time_us == pytest.approx(forward().time_us + 500)


def _run_shipped(name: str, gpu: str, engine: str) -> Result:
    workload = load_model_workload(name)
    return gpusim.forward_pass(
        workload.model,
        workload.sequences,
        gpu,
        workload.schedules[0].name,
        engine=engine,
        **workload.parts(),
    )


@pytest.mark.parametrize("name", OF_MODELS)
@pytest.mark.parametrize("gpu", shipped("hardware"))
def test_a_shipped_workload_runs_on_every_gpu(name: str, gpu: str) -> None:
    result = _run_shipped(name, gpu, "analytic")
    assert sum(result.breakdown.values()) == pytest.approx(1)
    assert result.hbm_bytes > 0
    assert result.total("issued_flop") >= result.useful_flop * (1 - 1e-9)


@pytest.mark.parametrize("name", OF_MODELS)
def test_both_engines_are_close(name: str) -> None:
    sim, analytic = (_run_shipped(name, "a100_sxm_80gb", engine) for engine in ENGINES)
    assert sim.time_us == pytest.approx(analytic.time_us, rel=0.05)
    assert sim.hbm_bytes == pytest.approx(analytic.hbm_bytes)


def test_what_a_step_holds_is_weights_and_cache() -> None:
    result = forward("llama3_1_70b", tensor_parallel=4)
    model = load_model("llama3_1_70b")
    assert result.step is not None
    assert result.step.weight_bytes == model.weight_bytes("bf16", 4)
    assert result.step.kv_bytes == 8 * 2048 * model.kv_bytes_per_token("bf16", 4)
    assert result.footprint_bytes == result.step.weight_bytes + result.step.kv_bytes


def test_prefill_of_a_latent_cache_makes_its_keys_anew() -> None:
    sequences = (Sequence(q_len=1024, kv_len=4096),)
    result = forward("deepseek_v3", sequences, tensor_parallel=8, weight_dtype="fp8")
    products = Decoder(model=load_model("deepseek_v3"), tensor_parallel=8).products(1024, 4096)
    assert {p.projection.name: p.rows for p in products}["kv_b_proj"] == 4096
    found = rows(result)
    assert found["cache_write_mla"].l2_to_sm_bytes == 1024 * (512 + 64) * 2
    assert "cache_write" not in found


def test_decode_of_a_latent_cache_is_refused_with_the_reason() -> None:
    with pytest.raises(SpecError, match=r"latent cache \(MLA\).*576 wide"):
        forward("deepseek_v3", tensor_parallel=8)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"tensor_parallel": 3}, "tensor_parallel: expected a divisor of q_heads (32), found 3"),
        ({"tensor_parallel": 16}, "tensor_parallel: expected at most 8 GPUs of a node, found 16"),
        ({"weight_dtype": "fp8", "gpu": "a100_sxm_80gb"}, "weight_dtype: expected a type that"),
        ({"kv_dtype": "fp8", "gpu": "a100_sxm_80gb"}, "kv_dtype: expected a type that"),
        ({"schedule": "falsh2"}, "expected a schedule, found 'falsh2'"),
        ({"engine": "magic"}, "engine: expected sim or analytic"),
        ({"l2": "hot"}, "l2: expected cold or warm"),
        ({"block_m": 64, "schedule": "vllm_flash_attn_3"}, "block_m: expected no options"),
        ({"model": "llama9"}, "llama9: expected a model name or a file"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(options: dict[str, Any], part: str) -> None:
    with pytest.raises(SpecError) as error:
        forward(**options)
    assert part in str(error.value)


def test_activations_follow_fp16_weights() -> None:
    dtypes: tuple[DType, ...] = ("fp16", "bf16")
    steps = [forward(weight_dtype=dtype).step for dtype in dtypes]
    assert [step.kv_dtype for step in steps if step] == ["fp16", "bf16"]


def test_simulate_prints_operators_and_assumptions(cli: Cli) -> None:
    outcome = cli(
        "simulate", "llama3_8b_forward_decode", "--engine", "analytic", "--format", "json"
    )
    assert outcome.code == 0
    row = json.loads(outcome.out)[0]
    assert set(row["breakdown"]) == {"attention", "gemm", "norms", "head", "framework"}
    assert row["model"]["tensor_parallel"] == 1
    assert row["model"]["model"] == "Llama-3.1 8B"
    kinds = [(la["operator"], la["calls"]) for la in row["launches"]]
    assert ("norms", 65) in kinds
    assert ("framework", 1) in kinds
    notes = outcome.err.splitlines()
    assert all(note.startswith("note: Llama-3.1 8B decode step") for note in notes)
    assert [note.partition(" assumes: ")[2] for note in notes] == row["assumptions"]
    assert any("500 us" in note for note in notes)


def test_what_does_not_fit_is_noted(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "big.yaml").write_text(
        "{model: llama3_1_70b, gpus: [h100_sxm], schedules: [flash3],"
        " sequences: [{q_len: 1, kv_len: 128}]}"
    )
    outcome = cli("simulate", "big.yaml", "--engine", "analytic")
    assert "needs 141 GB for weights and KV cache, it has 85; the time is as if" in outcome.err


def test_compare_ranks_schedules_by_the_step_and_says_what_attention_loses(cli: Cli) -> None:
    arguments = ("compare", "llama3_8b_forward_decode", "--gpu", "h100_sxm", "--engine", "analytic")
    outcome = cli(*arguments, "--format", "json")
    assert outcome.code == 0
    entries = json.loads(outcome.out)
    times = [entry["time_us"] for entry in entries]
    assert times == sorted(times)
    by_name = {entry["schedule"]: entry for entry in entries}
    assert by_name["flash2"]["why"].startswith("padding: issues ")
    assert by_name["flash3_fp8"]["approximation"] == "lower precision"
    assert "assumes: " in outcome.err
    table = cli(*arguments).out
    assert "vllm_flash_attn_2" in table
    frame = gpusim.compare("llama3_8b_forward_decode", gpus=["h100_sxm"], engine="analytic")
    assert list(frame["time_us"]) == pytest.approx(times)


def test_a_config_beside_the_workload_is_its_model(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "My-Model"
    folder.mkdir(parents=True)
    config = {
        "model_type": "llama",
        "hidden_size": 1024,
        "intermediate_size": 2048,
        "num_attention_heads": 16,
        "num_hidden_layers": 4,
        "vocab_size": 32000,
    }
    (folder / "config.json").write_text(json.dumps(config))
    text = "{model: %s, gpus: [l40s], schedules: [flash2], sequences: [{q_len: 9, kv_len: 9}]}"
    for name in ("My-Model", "My-Model/config.json"):
        (tmp_path / "deep" / "own.yaml").write_text(text % name)
        outcome = cli("simulate", "deep/own.yaml", "--format", "json")
        assert outcome.code == 0, outcome.err
        assert json.loads(outcome.out)[0]["model"]["model"] == "My-Model"
    (folder / "config.json").write_text(json.dumps(config | {"hidden_size": None}))
    outcome = cli("simulate", "deep/own.yaml")
    assert outcome.code == 2
    assert "own.yaml: model: " in outcome.err
    assert "config.json: hidden_size: expected an integer, found none" in outcome.err


MODEL_WORKLOAD = "model: llama3_1_8b\nsequences: [{count: 2, q_len: 1, kv_len: 64}]\n"


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("llama3_1_8b", "llama3_1_8x", "model: llama3_1_8x: expected a model name or a file"),
        ("llama3_1_8b", "5", "model: expected a name, a file or a mapping, found 5"),
        ("llama3_1_8b", "{q_heads: 4}", "model.hidden_size: expected a value"),
        ("model:", "tensor_parallel: 2 #", "model: expected a value"),
        ("model:", "tensor_parallel: 0\nmodel:", "tensor_parallel: expected at least 1, found 0"),
        ("model:", "tensor_parallel: 3\nmodel:", "tensor_parallel: expected a divisor of q_heads"),
        ("model:", "weight_dtype: int4\nmodel:", "weight_dtype: expected 'fp16', 'bf16' or 'fp8'"),
        ("model:", "overhead_us: -1\nmodel:", "overhead_us: expected at least 0.0, found -1"),
        ("model:", "overhead_us: .nan\nmodel:", "overhead_us: expected"),
        ("model:", "overhead: 5\nmodel:", "overhead: expected a known key"),
        (
            "model:",
            "seqences: []\nmodel:",
            "seqences: expected a known key; did you mean 'sequences'?",
        ),
        ("model:", "attention: {}\nmodel:", "attention: expected a known key"),
        ("q_len: 1", "q_len: 100", "sequences[0].kv_len: expected at least q_len (100)"),
        ("sequences:", "description: x #", "sequences: expected a value, found none"),
        ("model:", "schedules: [flash9]\nmodel:", "schedules[0]: expected a schedule"),
        ("model:", "schedules: [{name: flash2, l2: warm}]\nmodel:", "schedules[0].l2: expected"),
    ],
)
def test_a_bad_workload_of_a_model_is_refused(
    cli: Cli, tmp_path: Path, old: str, new: str, part: str
) -> None:
    assert old in MODEL_WORKLOAD
    (tmp_path / "bad.yaml").write_text(MODEL_WORKLOAD.replace(old, new, 1))
    outcome = cli("simulate", "bad.yaml", "--output", "out.json")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("gpusim: bad.yaml: ")
    assert part in outcome.err
    assert not (tmp_path / "out.json").exists()


def test_load_workload_is_of_attention_alone() -> None:
    with pytest.raises(SpecError, match=r"model: expected attention \(load_model_workload reads"):
        gpusim.load_workload("llama3_8b_forward_decode")
    with pytest.raises(SpecError, match="expected"):
        load_model_workload("llama3_8b_decode")
