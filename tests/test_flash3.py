"""FlashAttention-3: tiles, steps against measured clocks, packing, splits, order."""

import numpy as np
import pytest

from gpusim.errors import SpecError
from gpusim.machine.place import place
from gpusim.machine.step_time import step_time
from gpusim.schedules.catalogue import build_launches
from gpusim.schedules.flash3_plan import flash3_plan
from gpusim.schedules.flash3_step import flash3_step
from gpusim.schedules.flash3_tiles import Flash3Case, sm8x_tile, sm90_fp8_tile, sm90_tile
from gpusim.schedules.flash3_two_level import spilled_bytes, two_level_parts
from gpusim.schedules.launch import Launch
from gpusim.schedules.step import Pipe
from gpusim.schedules.tiling import Tiling
from gpusim.spec.attention import Attention, Sequence
from gpusim.spec.gpu import Gpu
from gpusim.spec.load import load_gpu
from gpusim.study.simulate import simulate

H100, A100, ADA = (load_gpu(n) for n in ("h100_sxm", "a100_sxm_80gb", "rtx_6000_ada"))
KIB = 1024


def case(head_dim: int, *, v: int | None = None, rows: int = 4096, **flags: bool) -> Flash3Case:
    """A table look-up; flags are causal, local, paged_gather."""
    given = {"causal": False, "local": False, "paged_gather": False} | flags
    return Flash3Case(head_dim=head_dim, v_head_dim=v or head_dim, rows=rows, **given)


def attention(
    *sequences: tuple[int, int, int],
    heads: tuple[int, int] = (32, 8),
    causal: bool = True,
    page_size: int | None = None,
) -> Attention:
    """A problem at d=128; sequences are (count, q_len, kv_len)."""
    return Attention(
        q_heads=heads[0],
        kv_heads=heads[1],
        head_dim=128,
        causal=causal,
        page_size=page_size,
        sequences=tuple(Sequence(count=c, q_len=q, kv_len=k) for c, q, k in sequences),
    )


def forward(a: Attention, gpu: Gpu, **options: object) -> Launch:
    """The launch with the matrix work."""
    launches = build_launches("flash3", a, gpu, options)
    return max(launches, key=lambda launch: launch.issued_flop)


@pytest.mark.parametrize(
    ("problem", "tile", "smem_kib"),
    [
        (case(64), (192, 192), 192),
        (case(64, causal=True), (192, 128), 88),
        (case(96), (192, 144), None),
        (case(128), (128, 176), 208),
        (case(128, causal=True), (128, 128), 160),
        (case(128, paged_gather=True), (128, 128), 160),
        (case(192), (128, 112), 216),
        (case(192, v=128), (128, 128), None),
        (case(192, local=True), (128, 96), None),
        (case(256), (128, 80), 224),
        (case(256, local=True), (128, 64), None),
        (case(128, rows=64), (64, 176), None),
        (case(128, rows=64, paged_gather=True), (64, 128), None),
        (case(64, rows=8), (64, 192), None),
        (case(256, rows=8), (128, 80), 224),
    ],
)
def test_sm90_tiles_follow_the_table(
    problem: Flash3Case, tile: tuple[int, int], smem_kib: int | None
) -> None:
    built = sm90_tile(problem)
    assert (built.block_m, built.block_n) == tile
    assert built.threads == 128 + 2 * built.block_m
    assert built.smem_bytes <= H100.sm.max_smem_per_cta_bytes
    if smem_kib:
        assert built.smem_bytes == smem_kib * KIB


@pytest.mark.parametrize(
    ("problem", "block_n"),
    [
        (case(64), 160),
        (case(96), 128),
        (case(128), 224),
        (case(128, paged_gather=True), 160),
        (case(192), 160),
        (case(256), 128),
        (case(256, local=True), 64),
    ],
)
def test_fp8_tiles_follow_the_table_and_fit(problem: Flash3Case, block_n: int) -> None:
    built = sm90_fp8_tile(problem)
    assert built.block_n == block_n
    assert built.smem_bytes <= H100.sm.max_smem_per_cta_bytes


@pytest.mark.parametrize(
    ("problem", "sm80", "split", "tile"),
    [
        (case(64), True, False, (128, 112, 4)),
        (case(64), True, True, (128, 80, 4)),
        (case(128), True, False, (128, 64, 4)),
        (case(128), True, True, (128, 112, 8)),
        (case(128), False, False, (128, 128, 8)),
        (case(192), True, False, (128, 96, 8)),
        (case(256), True, False, (128, 96, 8)),
        (case(256), True, True, (128, 64, 8)),
        (case(256), False, False, (128, 64, 8)),
    ],
)
def test_ampere_and_ada_tiles_follow_the_table_and_fit(
    problem: Flash3Case, sm80: bool, split: bool, tile: tuple[int, int, int]
) -> None:
    built = sm8x_tile(problem, sm80=sm80, varlen_split=split)
    assert (built.block_m, built.block_n, built.num_warps) == tile
    assert built.smem_bytes <= (A100 if sm80 else ADA).sm.max_smem_per_cta_bytes


@pytest.mark.parametrize(
    ("problem", "fp8", "measured", "within"),
    [
        # Clocks of a KV step measured on H100 at its loaded clock; the two ping-pong exposures were
        # set on the first two rows, the free-running one between the next two.
        (case(64, causal=True), False, 2788, 0.01),
        (case(128, causal=True), False, 2871, 0.02),
        (case(256), False, 3371, 0.03),
        (case(128, paged_gather=True), True, 3060, 0.05),
        (case(192, v=128, local=True), False, 2915, 0.03),
        (case(64), True, 2822, 0.02),
        (case(192, v=128), True, 3376, 0.05),
        (case(256), True, 3651, 0.08),
        (case(128, rows=64, paged_gather=True), False, 2180, 0.01),
        (case(64, rows=64), False, 2515, 0.07),
    ],
)
def test_a_step_takes_the_clocks_that_were_measured(
    problem: Flash3Case, fp8: bool, measured: float, within: float
) -> None:
    tile = sm90_fp8_tile(problem) if fp8 else sm90_tile(problem)
    step = flash3_step(tile, dtype="fp8" if fp8 else "bf16")
    time = step_time(H100, step, latency_clocks=H100.l2.latency_clocks)
    assert time.alone == pytest.approx(measured, rel=within)


def test_decode_packs_the_group_and_prefill_too_where_it_needs_to() -> None:
    assert forward(attention((32, 1, 8192)), H100).work.packed == 4
    assert forward(attention((1, 4096, 4096)), H100).work.packed == 1
    assert forward(attention((1, 4096, 4096)), A100).work.packed == 4
    assert forward(attention((8, 1, 8192), heads=(8, 8)), H100).work.packed == 1


def test_eight_kv_heads_split_fifteen_ways_and_leave_twelve_sms_idle() -> None:
    launch = forward(attention((1, 1, 131072), page_size=1), H100)
    assert launch.tile["num_splits"] == 15
    assert launch.num_ctas == 120


def test_splits_follow_the_share_of_each_sequence() -> None:
    plan = flash3_plan(
        attention((1, 1, 65536), (8, 1, 512), heads=(8, 1), page_size=1), H100, Tiling()
    )
    long, short = plan.grid.splits
    assert long > 50
    assert short == 1


def test_prompts_run_longest_tile_first_on_a_worker_per_sm() -> None:
    launch = forward(attention((2, 2048, 2048)), H100)
    assert launch.workers == H100.sm.count
    assert launch.work.lists is None
    steps = launch.work.tiles.steps[launch.work.order()]
    first_section = steps[: launch.work.section * launch.work.group_rows[0]]
    assert np.all(np.diff(first_section) <= 0)


def test_unmasked_prompts_are_dealt_out_in_turn_and_differ_by_one_tile() -> None:
    launch = forward(attention((2, 4096, 4096), causal=False), H100)
    assert launch.work.lists is not None
    tiles = launch.work.lists.sizes[launch.work.lists.kind]
    assert len(tiles) == H100.sm.count
    assert tiles.max() - tiles.min() <= 1


def test_workers_that_draw_equal_tiles_differ_by_one_at_most() -> None:
    """300 sequences alike, one tile each and head: 2,400 tiles for 132 workers."""
    result = simulate(attention((300, 1, 2048), page_size=1), H100, "flash3", trace=True)
    spans = [span for span in result.spans if span.launch == 1]
    tiles = np.bincount([span.sm for span in spans])
    assert tiles.sum() == 2400
    assert len(tiles) == H100.sm.count
    assert tiles.max() - tiles.min() <= 1


def test_the_longest_sequence_is_worked_on_first() -> None:
    launch = forward(attention((1, 1, 100), (1, 1, 9000), (1, 1, 500), heads=(128, 128)), H100)
    lengths = launch.work.tiles.kv_stop[launch.work.order()]
    assert lengths[0] == max(lengths)


def test_three_quarters_of_the_peak_at_long_sequences() -> None:
    """The paper: 740 TFLOP/s at best in 16 bit, 75 % of 989; 648 without a mask at 16k, d=128."""
    a = Attention(
        q_heads=16,
        kv_heads=16,
        head_dim=128,
        causal=False,
        sequences=(Sequence(q_len=16384, kv_len=16384),),
    )
    result = simulate(a, H100, "flash3", load="benchmark")
    at_paper_clock = result.tflops * 1830 / H100.clock.benchmark_mhz
    assert at_paper_clock == pytest.approx(648, rel=0.05)


def test_warps_follow_the_rows_of_an_overridden_tile() -> None:
    launch = forward(attention((1, 4096, 4096)), H100, block_m=192)
    assert (launch.threads, launch.registers) == (512, 128)
    for options in ({"block_m": 96}, {"num_warps": 8}):
        with pytest.raises(SpecError, match=next(iter(options))):
            forward(attention((1, 4096, 4096)), H100, **options)


def test_fp8_is_refused_without_warpgroup_instructions() -> None:
    with pytest.raises(SpecError, match="FP8 warpgroup instructions"):
        build_launches("flash3_fp8", attention((1, 128, 128)), A100, {})


def test_the_fork_spills_its_second_accumulator_through_l2_only_at_head_size_256() -> None:
    """d = 128, 192 keys: 96 + 24 + 128 = 248 registers of 216, 32 KiB of which L1 holds.

    d = 256, 128 keys: 64 + 16 + 256 = 336 of 216, 120 KiB; shared memory leaves 4 KiB of L1, and
    the port to L2 is half as wide as L1.
    """
    d128 = sm90_fp8_tile(case(128, causal=True, paged_gather=True, fork=True))
    d256 = sm90_fp8_tile(case(256, causal=True, paged_gather=True, fork=True))
    (add, near), (_, far) = (
        two_level_parts(tile, spilled_bytes(tile, H100)) for tile in (d128, d256)
    )
    assert add.amounts[Pipe.FP32] == 2 * 64 * 128
    assert near.amounts[Pipe.SMEM] == 2 * 32 * 128 * 4
    assert far.amounts[Pipe.SMEM] == 2 * (2 * 120 * 128 * 4)


def test_vllms_windows_take_the_tile_of_three_warpgroups() -> None:
    assert sm90_tile(case(64, rows=8, local=True, paged_gather=True)).block_m == 64
    assert sm90_tile(case(64, rows=8, local=True, paged_gather=True, fork=True)).block_m == 192


@pytest.mark.parametrize(("bandwidth", "exposed"), [(500.0, "step"), (50_000.0, "load")])
def test_the_first_loads_and_the_last_steps_of_a_launch_do_not_overlap(
    bandwidth: float, exposed: str
) -> None:
    """132 CTAs of 64 cold steps: once, a step's HBM time or its own, the shorter."""
    a = attention((132, 1, 64 * 128), heads=(4, 1), page_size=16)
    hbm = H100.hbm.model_copy(update={"sustained_gb_per_s": bandwidth})
    gpu = H100.model_copy(update={"hbm": hbm})
    (placed,) = place((forward(a, gpu),), gpu, load="benchmark", warm=False)
    steps = placed.units[0]
    load = placed.traffic.hbm_bytes / (1e3 * bandwidth) / steps
    step = placed.step.alone / placed.clock
    assert placed.ramp_us == pytest.approx({"step": step, "load": load}[exposed])
    assert placed.ramp_us == pytest.approx(min(step, load))


def test_the_fp8_producer_gathers_and_transposes_one_tile_after_another() -> None:
    """64 x 96 tile at d = 128: 1,150 clocks and 96·128/34 a step beside 24 KiB at 64 B a clock.

    With pages of one key, a wait for the page table before K and before V, in two stages, is added.
    """
    tile = sm90_fp8_tile(case(128, rows=8, causal=True, paged_gather=True))
    own = 1150 + 96 * 128 / 34
    port = 2 * 96 * 128 / 64 / 2
    pages = flash3_step(tile, dtype="fp8", gathers_pages_of=16)
    assert pages.load_clocks == pytest.approx(own)
    assert step_time(H100, pages, latency_clocks=5000).alone == pytest.approx(
        max(port + own, step_time(H100, flash3_step(tile, dtype="fp8"), latency_clocks=0).alone)
    )
    single = flash3_step(tile, dtype="fp8", gathers_pages_of=1)
    assert step_time(H100, single, latency_clocks=5000).alone == pytest.approx(5000 + port + own)
    assert flash3_step(tile, dtype="fp8").load_clocks == 0


def test_a_combine_kernel_without_splits_still_ends_each_of_its_ctas() -> None:
    """8 KV heads of a short batch leave room for splits, of which the whole batch needs none.

    Upstream reads a sequence's splits first (370 clocks): 64 sequences of 32 heads, 8 rows a CTA.
    """
    launches = build_launches("flash3", attention((64, 1, 1000), page_size=16), H100, {})
    combine = launches[-1]
    assert (combine.name, combine.num_ctas) == ("combine", 64 * 32 / 8)
    assert combine.plain
    assert combine.item_clocks == 370


def test_prompts_under_a_window_compare_both_its_limits_in_the_tiles_at_its_edges() -> None:
    """192 x 128 tiles of 1,024 queries, window 128: 192 + 128 keys lie in 3 tiles."""
    prompt, decode = (
        attention((1, q, 1024), heads=(1, 1), page_size=1).model_copy(
            update={"head_dim": 64, "window": 128}
        )
        for q in (1024, 1)
    )
    launch = forward(prompt, H100)
    assert (launch.tile["block_m"], launch.tile["block_n"]) == (192, 128)
    mean = launch.work.total(launch.work.tiles.steps) / launch.work.num_items
    assert 2 < mean < 4
    assert launch.item_amounts == {Pipe.FP32: pytest.approx(4 * 192 * 128 * mean)}
    assert not forward(decode, H100).item_amounts
