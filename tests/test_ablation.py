"""Effects switched off one at a time: what is left, calculated by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Cli

from gpusim.analytic.engine import predict_launches
from gpusim.errors import SpecError
from gpusim.machine.traffic import Traffic, count_traffic
from gpusim.schedules.catalogue import build_launches, problem_of
from gpusim.schedules.implementations import IMPLEMENTATIONS
from gpusim.schedules.launch import Launch, once, persistent
from gpusim.schedules.mask import useful_flop
from gpusim.schedules.real_work import real_pairs
from gpusim.schedules.step import Part, Pipe, Step
from gpusim.schedules.work import flat_work
from gpusim.sim.engine import simulate_launches
from gpusim.spec.attention import Attention, Sequence
from gpusim.spec.gpu import Gpu
from gpusim.spec.load import load_gpu
from gpusim.study.ablation import EFFECTS, ablated, check_effects
from gpusim.study.simulate import ENGINES, simulate
from gpusim.study.validate import validate

A100, H100 = load_gpu("a100_sxm_80gb"), load_gpu("h100_sxm")
#: Four SMs, each with room for one CTA of `_launch`.
FOUR_SMS = A100.model_copy(update={"sm": A100.sm.model_copy(update={"count": 4})})


def _prompts(length: int, heads: int = 1, head_dim: int = 64) -> Attention:
    sequence = Sequence(q_len=length, kv_len=length)
    return Attention(q_heads=heads, kv_heads=heads, head_dim=head_dim, sequences=(sequence,))


def _decode(batch: int, kv_len: int, heads: tuple[int, int] = (8, 8)) -> Attention:
    sequence = Sequence(count=batch, q_len=1, kv_len=kv_len)
    return Attention(q_heads=heads[0], kv_heads=heads[1], head_dim=128, sequences=(sequence,))


def _without(
    effect: str, schedule: str, attention: Attention, gpu: Gpu = A100
) -> tuple[Gpu, tuple[Launch, ...]]:
    launches = build_launches(schedule, attention, gpu, {})
    return ablated(problem_of(schedule, attention), gpu, launches, [effect])


def _launch(copies: list[int], steps: list[int]) -> Launch:
    """Kinds of equal items, 1,000 clocks of FP32 a step; an SM holds one CTA."""
    clocks = 1000 * A100.pipes.fp32_per_clock
    work = flat_work(copies, steps=steps, loop_bytes=8.0)
    return Launch(
        name="made up",
        threads=128,
        registers=32,
        smem_bytes=100 * 1024,
        step=Step(tracks=((Part("work", {Pipe.FP32: clocks}),),), load_bytes=0.0, syncs=0),
        work=work,
        reads=(once("kv", work.total(work.tiles.loop_bytes)),),
        writes=(),
    )


def test_without_l2_each_byte_requested_is_a_byte_of_hbm() -> None:
    """FlashAttention-2, 256 queries in two tiles that see 128 and 256 keys of 2·64 elements."""
    attention = _prompts(256)
    q, kv, o = 256 * 64 * 2, (128 + 256) * 2 * 64 * 2, 256 * (64 * 2 + 4)
    (whole,) = count_traffic(
        build_launches("flash_attn_2", attention, A100, {}), A100, (108,), warm=True
    )
    assert whole.hbm_bytes == 0
    gpu, launches = _without("l2", "flash_attn_2", attention)
    for warm in (True, False):
        assert count_traffic(launches, gpu, (108,), warm=warm) == (
            Traffic(hbm_read_bytes=q + kv, hbm_write_bytes=o, requested_bytes=q + kv + o),
        )


def test_without_l2_partial_results_and_scratch_go_to_hbm() -> None:
    for schedule, attention in (
        ("vllm_flash_attn_2", _decode(1, 8192, (8, 1))),
        ("flash1", _prompts(1024)),
        ("lean", _decode(1, 8192)),
    ):
        gpu, launches = _without("l2", schedule, attention)
        for traffic in count_traffic(launches, gpu, (108,) * len(launches), warm=True):
            assert traffic.hbm_bytes == pytest.approx(traffic.requested_bytes)


@pytest.mark.parametrize("load", ["benchmark", "steady"])
@pytest.mark.parametrize("engine", ENGINES)
def test_without_clocks_the_boost_clock_decides(engine: str, load: str) -> None:
    """With nothing but clocks left (no latency, no HBM), H100 gains 1980 MHz over each clock."""
    hbm = H100.hbm.model_copy(update={"sustained_gb_per_s": 1e12})
    gpu = H100.model_copy(update={"hbm": hbm})
    mhz = {"benchmark": H100.clock.benchmark_mhz, "steady": H100.clock.steady_mhz}[load]
    attention = _prompts(4096, heads=16, head_dim=128)
    limited, free = (
        simulate(attention, gpu, "flash3", engine, load=load, without=without).time_us
        for without in (["latency"], ["clock", "latency"])
    )
    assert limited / free == pytest.approx(1980 / mhz, rel=1e-6)


def test_without_padding_only_seen_pairs_are_steps() -> None:
    """Two tiles of 128 rows: 128·129/2 pairs in the first, 128·128 more in the second."""
    _, (launch,) = _without("padding", "flash_attn_2", _prompts(256))
    tile = launch.tile["block_m"] * launch.tile["block_n"]
    assert launch.tile["block_m"] == 128
    assert launch.work.tiles.steps == pytest.approx([8256 / tile, (16384 + 8256) / tile])


def test_without_padding_one_query_is_one_row_of_its_tile() -> None:
    attention = _decode(3, 1000)
    _, (launch, *_) = _without("padding", "flash_attn_2", attention)
    block_m, block_n = launch.tile["block_m"], launch.tile["block_n"]
    assert block_m >= 64
    assert launch.work.total(launch.work.tiles.steps) == pytest.approx(
        3 * 8 * 1000 / (block_m * block_n)
    )
    padded = build_launches("flash_attn_2", attention, A100, {})[0]
    assert launch.requested_bytes == padded.requested_bytes


@pytest.mark.parametrize(
    ("schedule", "gpu"),
    [
        ("flash1", A100),
        ("lean", A100),
        ("vllm_flash_attn_2", A100),
        ("sglang_flash_attn_3", A100),
        ("sglang_flash_attn_3", H100),
        ("vllm_triton", H100),
        ("sglang_triton", H100),
        ("flashinfer", A100),
    ],
)
def test_without_padding_issued_flop_are_the_useful_ones(schedule: str, gpu: Gpu) -> None:
    """Ragged: prompts, a chunk after a prefix, decode; groups of four heads, and a window."""
    shapes = ((2, 700, 700), (1, 100, 1500), (3, 1, 900))
    sequences = tuple(Sequence(count=c, q_len=q, kv_len=kv) for c, q, kv in shapes)
    window = None if schedule == "flash1" else 300
    attention = Attention(q_heads=8, kv_heads=2, head_dim=128, window=window, sequences=sequences)
    padded = build_launches(schedule, attention, gpu, {})
    _, launches = _without("padding", schedule, attention, gpu)
    row_sums = 1 + 1 / 32 if schedule == "flashinfer" else 1  # it multiplies P by a column of ones
    useful = useful_flop(attention) * row_sums
    assert sum(la.issued_flop for la in launches) == pytest.approx(useful)
    assert sum(la.issued_flop for la in padded) > 1.04 * useful_flop(attention)


def test_a_kernel_without_tiles_pads_nothing() -> None:
    for schedule, attention in (("standard", _prompts(300)), ("sglang_triton", _decode(4, 999))):
        launches = build_launches(schedule, attention, A100, {})
        assert ablated(attention, A100, launches, ["padding"]) == (A100, launches)


@pytest.mark.parametrize(
    ("copies", "steps", "items", "each"),
    [
        ([5], [10], 4, 12.5),  # one and a quarter waves become one
        ([7], [8], 8, 7.0),  # one and three quarters two
        ([7, 1], [1, 9], 8, 2.0),  # a long item at the end
        ([3], [8], 4, 6.0),  # an SM without work
    ],
)
def test_without_waves_items_are_equal_and_fill_the_gpu(
    copies: list[int], steps: list[int], items: int, each: float
) -> None:
    launch = _launch(copies, steps)
    gpu, (even,) = ablated(_prompts(64), FOUR_SMS, (launch,), ["waves"])
    assert (even.work.num_items, even.work.tiles.steps.tolist()) == (items, [each])
    for name in ("steps", "loop_bytes", "load_bytes", "store_bytes"):
        totals = (la.work.total(getattr(la.work.tiles, name)) for la in (even, launch))
        assert next(totals) == pytest.approx(next(totals))
    gpu, launches = ablated(_prompts(64), gpu, (even,), ["latency"])
    expected = items / 4 * each * 1000 / gpu.clock.benchmark_mhz
    for engine in (predict_launches, simulate_launches):
        result = engine(_prompts(64), gpu, launches, names=("", ""), load="benchmark")
        assert result.time_us == pytest.approx(expected, rel=1e-3)


def test_without_waves_workers_stay_as_many_an_sm() -> None:
    launch = persistent(_launch([10], [4]), 4, static=True)
    _, (even,) = ablated(_prompts(64), FOUR_SMS, (launch,), ["waves"])
    assert (even.workers, even.work.num_items, even.work.lists) == (4, 8, None)
    lean = build_launches("lean", _decode(1, 8192), A100, {})
    assert ablated(_decode(1, 8192), A100, lean, ["waves"])[1][0] is lean[0]


def test_without_waves_the_traffic_is_as_it_was() -> None:
    attention = _prompts(16384, heads=32, head_dim=128)
    launches = build_launches("flash_attn_2", attention, A100, {})
    _, even = ablated(attention, A100, launches, ["waves"])
    whole, spread = (count_traffic(x, A100, (216,), warm=False) for x in (launches, even))
    assert spread[0].hbm_read_bytes == pytest.approx(whole[0].hbm_read_bytes)
    assert whole[0].hbm_read_bytes > launches[0].reads[1].unique_bytes


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_without_side_kernels_only_attention_is_left(name: str) -> None:
    gpu = H100 if "3" in name else A100
    around = ("write", "copy", "prepare", "combine", "quantise", "budgets", "finalize", "reduce")
    prompts = [] if "santa" in name else [_prompts(640, heads=8, head_dim=128)]
    for attention in (*prompts, _decode(2, 8192, (8, 2))):
        launches = build_launches(name, attention, gpu, {})
        _, (first, *rest) = ablated(attention, gpu, launches, ["side_kernels"])
        assert (first.lead_us, first.programmatic) == (0.0, False)
        for launch in (first, *rest):
            assert not any(word in launch.name for word in around), launch.name
        matrix = max(launches, key=lambda launch: launch.issued_flop)
        assert first.work is matrix.work or any(la.work is matrix.work for la in rest)


def test_without_side_kernels_a_call_is_its_attention() -> None:
    names = ["cache_write", "copy_in_0", "copy_in_1", "flash_fwd_splitkv", "combine"]
    attention = _decode(2, 8192, (8, 2))
    launches = build_launches("vllm_flash_attn_2", attention, A100, {})
    assert [la.name for la in launches][:5] == names
    _, (only,) = ablated(attention, A100, launches, ["side_kernels"])
    assert only.name == "flash_fwd_splitkv"
    standard = build_launches("standard", _prompts(300), A100, {})
    assert len(ablated(_prompts(300), A100, standard, ["side_kernels"])[1]) == len(standard) == 3


@pytest.mark.parametrize("engine", ENGINES)
def test_without_latency_only_work_takes_time(engine: str) -> None:
    """One wave of FlashAttention-3's sm8x kernel after two others: gaps, a lead, the CTAs' own
    latency and clocks are gone; what is left are the clocks of steps and edges.
    """
    attention = _prompts(128, heads=8, head_dim=128)
    whole, rest = (
        simulate(attention, A100, "sglang_flash_attn_3", engine, l2="warm", without=without)
        for without in ([], ["latency"])
    )
    write, prepare, forward = build_launches("sglang_flash_attn_3", attention, A100, {})
    assert [la.gap_us for la in rest.launches] == [0, 0, 0]
    assert whole.launches[0].gap_us == write.lead_us + A100.launch.graph_us
    saved = whole.launches[2].time_us - rest.launches[2].time_us
    clocks = forward.item_clocks / A100.clock.steady_mhz
    assert saved == pytest.approx(A100.cta.latency_ns / 1e3 + clocks, rel=1e-3)
    sorting = prepare.item_clocks / A100.clock.steady_mhz
    assert whole.launches[1].time_us >= A100.cta.latency_ns / 1e3 + sorting
    assert rest.launches[1].time_us < 1e-5


def test_without_latency_a_launch_without_work_still_has_shares() -> None:
    attention = _decode(4, 2000, (8, 2))
    for engine in ENGINES:
        kernel = "sglang_0_5_10_flash_attn_3"
        result = simulate(attention, A100, kernel, engine, without=["latency"])
        assert sum(result.breakdown.values()) == pytest.approx(1)
        prepare = next(la for la in result.launches if la.name == "prepare")
        assert 0 < prepare.time_us < 1e-5


@pytest.mark.parametrize("engine", ENGINES)
def test_without_latency_a_combine_kernel_that_finds_nothing_still_takes_some_time(
    engine: str,
) -> None:
    attention = _decode(8, 1, (8, 2))
    result = simulate(attention, H100, "vllm_flash_attn_3", engine, without=["latency"])
    assert sum(result.breakdown.values()) == pytest.approx(1)
    assert 0 < result.launches[-1].time_us < 1e-5


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("schedule", ["flash1", "vllm_flash_attn_2", "lean", "santa_prop"])
def test_all_effects_can_go_at_once_in_any_order(schedule: str, engine: str) -> None:
    attention = _decode(2, 3000, (8, 2))
    names = tuple(EFFECTS)
    first, last = (
        simulate(attention, A100, schedule, engine, without=without)
        for without in (names, (*reversed(names), "l2"))
    )
    assert first == last
    assert 0 < first.time_us < simulate(attention, A100, schedule, engine, l2="warm").time_us


def test_what_is_useful_does_not_depend_on_effects() -> None:
    attention = _decode(2, 3000, (8, 2))
    for schedule in ("santa_prop", "flash2"):
        whole, rest = (
            simulate(attention, A100, schedule, "analytic", without=without)
            for without in ((), tuple(EFFECTS))
        )
        assert (whole.useful_flop, whole.approximation) == (rest.useful_flop, rest.approximation)


def test_an_unknown_effect_names_the_nearest() -> None:
    assert check_effects(["waves", "l2", "waves"]) == ("l2", "waves")
    with pytest.raises(SpecError, match="found 'pading'; did you mean 'padding'"):
        simulate(_prompts(64), A100, "flash2", without=["pading"])


ROWS = """gpu,kernel,phase,batch,q_len,kv_len,q_heads,kv_heads,head_dim,dtype,kv_dtype,causal,\
window,page_size,l2,measured_us,source
a100_sxm_80gb,vllm_flash_attn_2,decode,1,1,4096,8,8,128,bf16,,true,,64,warm,101.7,a page
"""


def test_the_command_predicts_without_what_it_is_told(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(ROWS, encoding="utf-8")
    command = ("validate", "rows.csv", "--engine", "analytic", "--format", "json")
    whole = json.loads(cli(*command).out)
    less = json.loads(cli(*command, "--without", "side_kernels", "--without", "latency").out)
    assert (whole["without"], less["without"]) == ([], ["side_kernels", "latency"])
    assert less["bias"] < whole["bias"]
    found = validate([str(tmp_path / "rows.csv")], engine="analytic", without=["latency", "l2"])
    assert found.without == ("l2", "latency")


def test_a_mistaken_effect_is_refused_before_anything_is_read(cli: Cli) -> None:
    outcome = cli("validate", "nothing.csv", "--without", "clocks")
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    known = ", ".join(EFFECTS)
    assert f"without: expected an effect ({known}), found 'clocks'; did you mean" in outcome.err


def test_the_help_names_every_effect(cli: Cli) -> None:
    text = " ".join(cli("validate", "--help").out.split())
    *others, last = EFFECTS
    assert f"EFFECT is {', '.join(others)} or {last}" in text


def test_real_rows_of_a_tile_need_not_be_one_range() -> None:
    """Blocks of 16 rows, every third one, as the shipped FlashAttention-1 deals them out."""
    work = replace(_launch([1], [1]).work, row_block=16, row_stride=3)
    assert work.row_offsets(33).tolist() == [*range(16), *range(48, 64), 96]
    assert np.array_equal(_launch([1], [1]).work.row_offsets(3), [0, 1, 2])


def test_idle_ctas_of_a_captured_launch_have_no_pairs() -> None:
    """Captured decode has a group of CTAs that end at once, beside its planned items."""
    attention = _decode(1, 4096, (8, 2))
    forward = next(
        la for la in build_launches("flashinfer", attention, A100, {}) if la.name == "batch_decode"
    )
    assert len(forward.work.group_rows) == 2
    pairs = real_pairs(attention, forward.work)
    assert pairs[-1] == 0
    assert forward.work.total(pairs) == 8 * 4096
