"""SGLang's Triton backend: grids, splits and steps as its sources and builds have them."""

from typing import Any

import pytest

from gpusim.machine.place import place
from gpusim.machine.step_time import step_time
from gpusim.schedules.catalogue import build_launches
from gpusim.schedules.launch import Launch
from gpusim.spec.attention import Attention, Sequence
from gpusim.spec.framework_builds import framework_build
from gpusim.spec.load import load_gpu

H100, L40S = load_gpu("h100_sxm"), load_gpu("l40s")


def problem(count: int, q_len: int, kv_len: int, **changes: Any) -> Attention:
    """Eight query heads over one KV head of 512."""
    values: dict[str, Any] = {"q_heads": 8, "kv_heads": 1, "head_dim": 512} | changes
    sequences = (Sequence(count=count, q_len=q_len, kv_len=kv_len),)
    return Attention(**values, sequences=sequences)


def launches(attention: Attention) -> dict[str, Launch]:
    """On H100, by name."""
    return {la.name: la for la in build_launches("sglang_triton", attention, H100, {})}


@pytest.mark.parametrize(("batch", "kv_len", "splits"), [(1, 64, 2), (64, 512, 6), (512, 4096, 2)])
def test_splits_follow_sms_times_the_log_of_the_context(
    batch: int, kv_len: int, splits: int
) -> None:
    """132 SMs: one block of 32 keys a split at most; 132*6 / 512 = 1.5.

    132*3 / 64 = 6.2 makes 7 splits of 74 keys, in whole blocks of 32: 6 of 96.
    """
    work = launches(problem(batch, 1, kv_len))["decode_attention"].work
    assert int((work.tiles.steps > 0).sum()) == splits


def test_ctas_for_splits_that_a_sequence_does_not_need_count_in_part() -> None:
    """Two of eight splits: 0.3 * 6 = 1.8, two CTAs more for each sequence and head."""
    work = launches(problem(512, 1, 4096))["decode_attention"].work
    assert work.tiles.steps.tolist() == [64, 64, 0, 0]
    assert work.num_items == 512 * 4


def test_a_windowed_decode_walks_only_the_window() -> None:
    """256 keys in 8 splits of 32, wherever they lie."""
    windowed = launches(problem(1, 1, 100_000, window=256))["decode_attention"].work
    assert windowed.tiles.steps.tolist() == [1] * 8
    assert windowed.tiles.kv_start.tolist() == [99_744 + 32 * i for i in range(8)]


def test_the_second_stage_has_a_cta_for_each_head_and_always_runs() -> None:
    merge = launches(problem(3, 1, 20))["combine"]
    assert (merge.num_ctas, merge.work.tiles.steps.tolist()) == (24, [1])


def test_an_fp8_cache_of_a_16_bit_model_costs_two_conversions() -> None:
    assert [name for name in launches(problem(1, 1, 64, kv_dtype="fp8")) if "convert" in name] == [
        "convert_k",
        "convert_v",
    ]
    both = problem(1, 64, 64, kv_dtype="fp8", dtype="fp8")
    assert not [name for name in launches(both) if "convert" in name]


def test_prompts_take_tiles_by_head_size_and_prompts_of_one_token_are_prompts() -> None:
    """d = 512 on H100: 32 x 64, one CTA a query head; 100 tokens make four tiles."""
    extend = launches(problem(2, 100, 100))["extend_attention"]
    assert (extend.tile["block_m"], extend.tile["block_n"], extend.num_ctas) == (32, 64, 2 * 8 * 4)
    assert "extend_attention" in launches(problem(1, 1, 1))


def test_a_step_takes_the_chain_of_its_instructions_and_its_waits() -> None:
    """7389 clocks and more for a chain that nothing overlaps; loads add L2 latencies."""
    extend = launches(problem(1, 512, 512))["extend_attention"]
    build = framework_build(
        "sglang_extend", "sm_90", head_dim=512, dtype="bf16", kv_dtype="bf16", window=False
    )
    assert build is not None
    step = step_time(H100, extend.step, latency_clocks=370.0)
    assert step.alone == pytest.approx(build.code.chain_clocks + build.loads * 370)
    assert step.shared == build.code.busy_clocks
    assert sum(step.shares.values()) == pytest.approx(1)


def test_a_window_adds_time_for_the_tiles_that_are_passed_over() -> None:
    """The last tile of 4096 queries of d = 256: keys from 4032 - 1023 on, 48 tiles of 64 before."""
    windowed = problem(1, 4096, 4096, head_dim=256, window=1024)
    extend = build_launches("sglang_triton", windowed, H100, {})
    placed = place(extend, H100, load="benchmark", warm=True)[-1]
    last = placed.launch.work.tiles
    assert (int(last.steps[-1]), int(last.kv_start[-1])) == (17, 47 * 64)
    skipped = 47 * 64 * placed.launch.step.skip_clocks_per_key / placed.step.alone
    assert placed.units[-1] > 17 + skipped > 17


def test_a_tile_from_hbm_takes_two_microseconds_longer_beside_the_latency() -> None:
    """Its 2.03 waits take HBM's 370 ns in place of L2's 370 clocks."""
    small, large = (
        next(
            p
            for p in place(
                build_launches("sglang_triton", problem(1, 1, n), H100, {}),
                H100,
                load="benchmark",
                warm=True,
            )
            if p.launch.name == "decode_attention"
        )
        for n in (4096, 2**20)
    )
    clocks = large.step.alone - small.step.alone
    latency = 2.03 * (0.370 - 370 / large.clock)
    assert clocks / large.clock == pytest.approx(2.0 + latency, rel=1e-4)


def test_architectures_and_head_sizes_without_a_build_are_described_by_their_tile() -> None:
    assert launches(problem(1, 1, 64, head_dim=96))["decode_attention"].step.code is None
