"""From curves to numbers of replicas; memory, capacity and power of one replica."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plan_cases import plan_of
from step_timers import Linear

from gpusim.spec.load import load_gpu
from gpusim.spec.load_model import load_model
from gpusim.spec.plan import Targets
from gpusim.study.batching import ReplicaLimits
from gpusim.study.plan_candidates import candidates, replica_of
from gpusim.study.plan_memory import activation_bytes, cache_type, memory_of
from gpusim.study.plan_sizing import highest_rate, size
from gpusim.study.requests import requests_of
from gpusim.study.serving_curve import Point, capacity_rps, full_batch
from gpusim.study.serving_log import Meter
from gpusim.study.serving_power import power_model


def point(rate: float, ttft: float, tpot: float, served: float | None = None) -> Point:
    """A point of a curve, of which only rates and latencies matter."""
    return Point(
        rate_rps=rate,
        load=rate,
        served_rps=rate if served is None else served,
        output_tokens_per_s=0.0,
        total_tokens_per_s=0.0,
        ttft_ms={"target": ttft},
        tpot_ms={"target": tpot},
        met_fraction=1.0,
        goodput_rps=rate,
        busy_fraction=1.0,
        mean_batch=1.0,
        largest_batch=1,
        kv_fraction=0.0,
        preemptions=0,
        steps=1.0,
        waiting_fraction={"kv_capacity": 0.2 * (rate > 2), "max_sequences": 0.0},
        requests_in_system=1.0,
        watts=100.0,
    )


CURVE = [point(1, 100, 10), point(2, 200, 12), point(3, 180, 20), point(4, 1000, 30, served=3.5)]


def targets(ttft_ms: float, tpot_ms: float) -> Targets:
    """Targets at the default percentile."""
    return Targets(ttft_ms=ttft_ms, tpot_ms=tpot_ms)


# --- sizes ---


def test_a_run_too_short_to_fill_a_replica_does_not_lower_what_it_can_serve() -> None:
    """Rates are shares of a capacity of 10 a second; the short run served 7 of the 12 that came."""
    curve = [replace(point(10 * load, 100, 10, served=7.0), load=load) for load in (0.5, 1.2)]
    sizing = size(curve, 30.0, targets(500, 40), 0.0)
    assert sizing.limits_rps["throughput"] == 10
    assert (sizing.binds, sizing.replicas) == ("throughput", 3)


def test_latencies_are_read_off_the_running_maximum() -> None:
    assert highest_rate([1, 2, 3], [10, 30, 20], 30) == 3
    assert highest_rate([1, 2, 3], [10, 30, 20], 20) == 1.5
    assert highest_rate([1, 2], [10, 30], 10) == 1
    assert highest_rate([1, 2], [10, 30], 9.99) == 0


def test_replicas_hold_the_rate_with_its_headroom() -> None:
    found = size(CURVE, 10, targets(600, 100), 0.2)
    # 200 ms to 1000 ms between rates of 3 and 4: 600 ms at 3.5, which is also what is served
    assert (found.goodput_rps, found.replicas) == (3.5, 4)
    assert found.replicas_exact == pytest.approx(12 / 3.5)
    tpot = size(CURVE, 10, targets(1000, 16), 0)
    assert (tpot.goodput_rps, tpot.binds, tpot.because) == (2.5, "tpot", "kv_capacity")
    assert size(CURVE, 10, targets(150, 16), 0).because == "step_time"


def test_a_target_that_no_load_keeps_is_named_with_what_is_found() -> None:
    found = size(CURVE, 10, targets(80, 8), 0)
    assert (found.replicas, found.goodput_rps) == (None, 0.0)
    assert [(m.target, m.limit_ms, m.found_ms) for m in found.missed] == [
        ("ttft", 80, 100),
        ("tpot", 8, 10),
    ]
    assert [m.over for m in found.missed] == pytest.approx([0.25, 0.25])


CURVES = st.lists(
    st.tuples(st.floats(0.1, 5), st.floats(1, 1e4), st.floats(1, 200), st.floats(0.3, 1)),
    min_size=1,
    max_size=12,
)


@given(CURVES, st.floats(1, 2e4), st.floats(1, 400), st.floats(1, 3), st.floats(1, 3))
def test_looser_targets_never_need_more_gpus(
    rows: list[tuple[float, float, float, float]],
    ttft: float,
    tpot: float,
    looser: float,
    slower: float,
) -> None:
    rate, curve = 0.0, []
    for step, first, per_token, served in rows:
        rate += step
        curve.append(point(rate, first, per_token, served * rate))
    tight = size(curve, 50, targets(ttft, tpot), 0.2)
    loose = size(curve, 50, targets(looser * ttft, slower * tpot), 0.2)
    assert loose.goodput_rps >= tight.goodput_rps
    if tight.replicas is not None:
        assert loose.replicas is not None
        assert loose.replicas <= tight.replicas
        # more replicas hold no less, and those that are asked for hold the rate with its headroom
        assert tight.replicas * tight.goodput_rps >= 50 * 1.2 * (1 - 1e-8)
        assert tight.replicas == 1 or (tight.replicas - 1) * tight.goodput_rps < 50 * 1.2


@given(st.floats(1, 500), st.floats(0, 2), st.floats(1, 2))
def test_higher_rates_and_more_headroom_never_need_fewer(
    rate: float, headroom: float, more: float
) -> None:
    few = size(CURVE, rate, targets(300, 25), headroom).replicas
    many = size(CURVE, rate * more, targets(300, 25), headroom * more).replicas
    assert few is not None
    assert many is not None
    assert few <= many


def test_slower_steps_are_another_reading_of_the_same_curve() -> None:
    found = size(CURVE, 10, targets(300, 24), 0, step_factor=2)
    same = size(CURVE, 10, targets(150, 12), 0)
    assert found.goodput_rps == pytest.approx(same.goodput_rps / 2)
    worse = size(CURVE, 10, targets(180, 24), 0, step_factor=2)
    assert [(m.target, m.limit_ms, m.found_ms) for m in worse.missed] == [("ttft", 180, 200)]


# --- memory, capacity and power ---


def test_memory_is_weights_activations_and_cache() -> None:
    plan, model = plan_of(), load_model("llama3_1_8b")
    memory = memory_of(plan, model, load_gpu("h100_sxm"), 1, requests_of(plan.traffic))
    # 32 layers x 8 KV heads x 128 x (K and V) x 2 bytes
    assert memory.kv_bytes_per_token == 131072
    assert memory.usable_bytes == pytest.approx(0.9 * 84.9e9)
    # 3 x 4096 + 3 x 14336 numbers a token; logits of 128256 words in 10 bytes a sequence
    assert memory.activation_bytes == 2048 * 2 * (12288 + 43008) + 64 * 10 * 128256
    left = 0.9 * 84.9e9 - model.weight_bytes() - memory.activation_bytes
    assert memory.kv_pages == int(left // (16 * 131072))
    assert memory.kv_tokens == 16 * memory.kv_pages
    assert activation_bytes(plan, model, 2) < memory.activation_bytes


def test_the_cache_has_the_type_of_16_bit_weights() -> None:
    assert cache_type(plan_of()) == "bf16"
    assert cache_type(plan_of(weight_dtype="fp16")) == "fp16"
    assert cache_type(plan_of(weight_dtype="fp8")) == "bf16"
    assert cache_type(plan_of(weight_dtype="fp16", kv_dtype="fp8")) == "fp8"


def test_a_full_batch_is_what_sequences_and_pages_allow() -> None:
    requests = requests_of(plan_of(traffic={"prompt_tokens": 90, "output_tokens": 20}).traffic)
    room = ReplicaLimits(max_sequences=50, chunk_tokens=512, page_size=16, kv_pages=100)
    assert full_batch(requests, room) == int(1600 / (90 + 10 + 8))
    wide = ReplicaLimits(max_sequences=50, chunk_tokens=512, page_size=16, kv_pages=1000)
    assert full_batch(requests, wide) == 50


def test_the_estimated_capacity_is_that_of_a_full_batch_in_a_steady_state() -> None:
    plan = plan_of(gpus=["h100_sxm"], traffic={"prompt_tokens": 90, "output_tokens": 20})
    model, requests = load_model(plan.model), requests_of(plan.traffic)

    def linear(*_: object) -> Linear:
        return Linear(step=1000.0, sequence=1.0, cached=0.01, prompt=2.0)

    replica = replica_of(plan, model, candidates(plan, model, requests)[0], linear)
    # 64 sequences; 3.2 end with each step, so that 288 prompt tokens are new in it
    step_us = 500 + 1000 + 64 + 0.01 * 64 * 100 + 2 * 288
    assert capacity_rps(requests, replica) == pytest.approx(3.2 / step_us * 1e6)


def test_power_is_idle_plus_work_and_never_above_the_board() -> None:
    model, gpu = load_model("llama3_1_8b"), load_gpu("h100_sxm")
    power = power_model(model, gpu, 1, weight_dtype="bf16", kv_dtype="bf16", kv_token_bytes=131072)
    assert power.watts(Meter(0.0, 1e6)) == gpu.power.idle_w
    decode = Meter(0.0, 1e6)
    decode.steps, decode.decode_tokens, decode.decode_kv_tokens = 100.0, 800.0, 80_000.0
    bytes_read = 100 * (model.weight_bytes() - 2 * 128256 * 4096) + 80_800 * 131072
    joule = bytes_read * gpu.power.hbm_pj_per_byte * 1e-12
    assert power.watts(decode) - gpu.power.idle_w == pytest.approx(joule, rel=0.1)
    decode.prefill_tokens = 1e9
    assert power.watts(decode) == gpu.power.tdp_w


def test_power_counts_the_pairs_that_windows_let_through() -> None:
    """Gemma 3 27B at 16,384 cached tokens: 52 of 62 layers see 1,024 of them."""
    model, gpu, context = load_model("gemma3_27b"), load_gpu("h100_sxm"), 16384
    token = model.kv_bytes(context) / context
    power = power_model(model, gpu, 1, weight_dtype="bf16", kv_dtype="bf16", kv_token_bytes=token)
    seen = 10 * context + 52 * 1024
    a_layer = 2 * 32 * (128 + 128)  # FLOP of a pair: 32 heads, QK and PV
    assert context * power.pair_flop == pytest.approx(seen * a_layer)
