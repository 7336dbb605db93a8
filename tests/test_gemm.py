"""Matrix products: one by hand, what every plan keeps to, and the measured rows carried along."""

from dataclasses import replace
from itertools import pairwise

import pytest
from click.testing import CliRunner

from gpusim.analytic.bounds import bounds
from gpusim.analytic.engine import predict_timings
from gpusim.errors import SpecError
from gpusim.launch_result import LaunchResult
from gpusim.machine.dense import dense_profile
from gpusim.machine.place import place_calls
from gpusim.machine.step_time import step_time
from gpusim.schedules.gemm import Gemm, GemmPlan, gemm_launches
from gpusim.schedules.gemm_tile import GemmTile, epilogue, gemm_step, shipped_tiles
from gpusim.schedules.step import Pipe
from gpusim.spec.gpu import Gpu
from gpusim.spec.load import load_gpu, shipped
from gpusim.study.aiconfigurator import INSTALL, is_installed
from gpusim.study.gemm import _PLANNERS, MOST_KEPT, Planner, planner, predict_gemm
from gpusim.study.gemm_rows import GemmRow, gemm_roofline_us, predict_gemm_row
from validation import gemm, gemm_guard
from validation.accuracy import README

A100, H100, L40S = (load_gpu(name) for name in ("a100_sxm_80gb", "h100_sxm", "l40s"))
GPUS = pytest.mark.parametrize("gpu", [A100, H100, L40S], ids=lambda gpu: gpu.name)
TILE = GemmTile(block_m=128, block_n=128, block_k=32, num_warps=4, stages=5)
WGMMA = GemmTile(
    block_m=128,
    block_n=256,
    block_k=64,
    num_warps=8,
    stages=4,
    cluster_m=2,
    matrix_path="wgmma",
)
#: Products of one token, of few, with edges everywhere, deep and flat ones, experts.
PRODUCTS = (
    Gemm(m=1, n=4096, k=4096),
    Gemm(m=17, n=1000, k=500),
    Gemm(m=129, n=2048, k=51200),
    Gemm(m=513, n=7168, k=8192),
    Gemm(m=4096, n=4096, k=64),
    Gemm(m=64, n=1536, k=4096, groups=8),
)
SHAPES = pytest.mark.parametrize("product", PRODUCTS, ids=lambda g: f"{g.groups}x{g.m}x{g.n}x{g.k}")


def _us(results: tuple[LaunchResult, ...]) -> float:
    return sum(r.gap_us + r.time_us for r in results)


def _plans(gpu: Gpu, product: Gemm, most: int = 40) -> tuple[Planner, list[tuple[float, GemmPlan]]]:
    """The first plans by their bounds."""
    tiles = planner(gpu, product.dtype, "steady")
    first = product.a_bytes + product.w_bytes + product.c_bytes
    clock = tiles.gpu.clock_hz("steady") / 1e6
    return tiles, tiles.tiles.ordered(product, tiles.gpu, clock, first, most)


def test_a_product_by_hand() -> None:
    """300 x 384 x 1000 in tiles of 128 x 128 x 32: 3 x 3 tiles of 32 steps, the last of each short.

    A step: 2·128·128·32 FLOP at 2048 a clock are 512 clk; four warps, 2 x 2, read 2·128 rows of A
    and 2·128 columns of W, which were written once: 768 slices of 64 B at 128 B a clock, 384 clk.
    """
    product, plan = Gemm(m=300, n=384, k=1000), GemmPlan(tile=TILE)
    (launch,) = gemm_launches(product, plan, A100, 216)
    assert plan.grid(product) == (3, 3)
    assert (launch.num_ctas, launch.work.tiles.steps.tolist()) == (9, [32])
    assert launch.issued_flop == 2 * (3 * 128) * (3 * 128) * (32 * 32)
    a, w, c = 300 * 1000 * 2, 384 * 1000 * 2, 300 * 384 * 2
    assert [o.unique_bytes for o in (*launch.reads, *launch.writes)] == [a, w, c]
    assert [o.requested_bytes for o in (*launch.reads, *launch.writes)] == [3 * a, 3 * w, c]
    assert launch.requested_bytes == pytest.approx(
        launch.work.total(launch.work.tiles.loop_bytes)
        + launch.work.total(launch.work.tiles.store_bytes)
    )
    assert launch.smem_bytes == 5 * 256 * 32 * 2
    assert launch.registers == 128 * 128 // 128 + 90
    step = step_time(dense_profile(A100), launch.step, latency_clocks=318)
    assert step.alone == 512 + 115
    assert step.floor == 512
    assert launch.step.total(Pipe.SMEM) / 128 == 384
    assert launch.item_amounts == {Pipe.SMEM: 2 * 4 * 128 * 128, Pipe.CONVERT: 128 * 128 / 2}


def test_warpgroups_read_one_operand_once_and_the_other_once_for_each_64_rows() -> None:
    """128 tokens beside 256 features: features as rows read 256 + 128·4, tokens 128 + 256·2.

    A pair of CTAs in a column shares W. A step of 64 takes 2·128·256·64 / 4096 = 1024 clk.
    """
    assert WGMMA.read_rows == min(128 + 256 * 2, 256 + 128 * 4)
    product = Gemm(m=512, n=512, k=4096)
    (launch,) = gemm_launches(product, GemmPlan(tile=WGMMA), H100, 132)
    a, w = (o.requested_bytes for o in launch.reads)
    assert (a, w) == (2 * product.a_bytes, 4 * product.w_bytes / 2)
    step = step_time(dense_profile(H100), gemm_step(WGMMA, "bf16", 2), latency_clocks=370)
    assert step.alone == step.floor == 1024
    assert epilogue(WGMMA, output_bytes=2) == {}


def test_scaled_products_in_8_bit_have_few_tiles_and_do_not_split() -> None:
    assert len(shipped_tiles(H100, "fp8")) < 20 < len(shipped_tiles(H100, "bf16"))
    _, plans = _plans(H100, Gemm(m=16, n=512, k=16384, dtype="fp8"))
    assert {plan.splits for _, plan in plans} == {1}
    _, plans = _plans(H100, Gemm(m=16, n=512, k=16384))
    assert max(plan.splits for _, plan in plans) > 1


def test_a_step_in_8_bit_holds_twice_as_much_of_k() -> None:
    plan, wide = GemmPlan(tile=WGMMA), Gemm(m=128, n=256, k=4096)
    narrow = Gemm(m=128, n=256, k=4096, dtype="fp8")
    assert (plan.steps(wide), plan.steps(narrow)) == (64, 32)
    assert gemm_step(WGMMA, "fp8", 1).load_bytes == gemm_step(WGMMA, "bf16", 2).load_bytes


def test_a_split_product_adds_its_parts_in_a_second_launch() -> None:
    """Three parts in fp32 are written, read and added; the parts of K are rounded up to steps."""
    product, plan = Gemm(m=128, n=128, k=4096), GemmPlan(tile=TILE, splits=3)
    main, add = gemm_launches(product, plan, A100, 216)
    assert (main.num_ctas, plan.steps(product)) == (3, 43)
    assert main.writes[0].unique_bytes == add.reads[0].unique_bytes == 3 * 4 * 128 * 128
    assert add.writes[0].unique_bytes == product.c_bytes
    assert main.item_amounts == {Pipe.SMEM: 2 * 4 * 128 * 128}  # parts leave in fp32
    assert add.lead_us == A100.launch.shortest_kernel_us


@GPUS
@SHAPES
def test_plans_cover_the_product_once_and_no_more_than_tiles_stand_over(
    gpu: Gpu, product: Gemm
) -> None:
    tiles, plans = _plans(gpu, product)
    assert plans
    for _, plan in plans:
        rows, columns = plan.grid(product)
        tile, main = plan.tile, tiles.launches(product, plan)[0]
        assert product.m <= rows * tile.block_m < product.m + tile.block_m
        assert product.n <= columns * tile.block_n < product.n + tile.block_n
        assert main.num_ctas == rows * columns * plan.splits * product.groups
        depth = plan.steps(product) * plan.splits * tile.keys(product.element_bytes)
        assert depth >= product.k
        padded = 2.0 * rows * tile.block_m * columns * tile.block_n * depth * product.groups
        assert main.issued_flop == padded >= product.useful_flop


@GPUS
@SHAPES
def test_no_plan_beats_its_bounds(gpu: Gpu, product: Gemm) -> None:
    tiles, plans = _plans(gpu, product)
    for least, plan in plans[:12]:
        launches = tiles.launches(product, plan)
        placement = place_calls((launches,), tiles.gpu, load="steady", warm=False)
        assert least <= tiles.time_us(product, plan) * (1 + 1e-9)
        for index, time_us in enumerate(predict_timings(placement).time_us):
            least_us = max(bounds(placement.one(index), tiles.gpu).values())
            assert time_us >= least_us * (1 - 1e-9)


@GPUS
@SHAPES
def test_a_prediction_reads_and_writes_at_least_what_there_is(gpu: Gpu, product: Gemm) -> None:
    g = product
    results = predict_gemm(gpu, g.m, g.n, g.k, groups=g.groups)
    assert sum(r.hbm_read_bytes for r in results) >= (g.a_bytes + g.w_bytes) * (1 - 1e-9)
    assert results[-1].hbm_write_bytes >= g.c_bytes * (1 - 1e-9)
    assert sum(r.issued_flop for r in results) >= g.useful_flop
    assert set(results[0].tile) >= {"block_m", "block_n", "block_k", "splits"}
    assert all(sum(r.breakdown.values()) == pytest.approx(1) for r in results)


@GPUS
def test_more_tokens_take_longer_give_or_take_a_tile(gpu: Gpu) -> None:
    times = [_us(predict_gemm(gpu, m, 4096, 4096)) for m in (1, 8, 64, 200, 512, 1500, 4096, 9000)]
    assert all(later > 0.98 * earlier for earlier, later in pairwise(times))
    assert times[-1] > 20 * times[0]


@GPUS
@SHAPES
def test_more_bandwidth_is_never_slower(gpu: Gpu, product: Gemm) -> None:
    g, own = product, gpu.gemm
    assert own is not None
    faster = gpu.model_copy(
        update={"gemm": own.model_copy(update={"hbm_gb_per_s": 2 * own.hbm_gb_per_s})}
    )
    before, after = (_us(predict_gemm(x, g.m, g.n, g.k, groups=g.groups)) for x in (gpu, faster))
    assert after <= before * (1 + 1e-9)


@GPUS
def test_experts_side_by_side_fill_the_gpu(gpu: Gpu) -> None:
    """Eight products in one grid take longer than one, and less than eight after one another."""
    one, eight = (_us(predict_gemm(gpu, 64, 1536, 4096, groups=g)) for g in (1, 8))
    assert one < eight < 8 * one


@GPUS
def test_both_engines_agree(gpu: Gpu) -> None:
    for m, n, k in ((16, 4096, 4096), (700, 5120, 1024), (4096, 4096, 4096)):
        quick, events = (predict_gemm(gpu, m, n, k, engine=e) for e in ("analytic", "sim"))
        assert _us(events) == pytest.approx(_us(quick), rel=0.05)
        assert [r.tile for r in events] == [r.tile for r in quick]


def test_what_was_asked_is_remembered() -> None:
    first = predict_gemm(H100, 77, 4096, 4096)
    assert predict_gemm(H100, 77, 4096, 4096) is first
    assert predict_gemm(H100, 77, 4096, 4096, warm=True) is not first


def test_profiles_that_vary_are_not_kept_for_ever() -> None:
    for n in range(MOST_KEPT + 3):
        planner(H100.model_copy(update={"description": f"{n}"}), "bf16", "steady")
    assert len(_PLANNERS) == MOST_KEPT
    again = planner(H100, "bf16", "steady")
    assert planner(H100, "bf16", "steady") is again


def test_of_equal_bounds_the_first_plans_are_tried() -> None:
    """So that every CPU, whose partition may order equals as it likes, tries the same."""
    product = Gemm(m=64, n=4096, k=4096)
    everything = _plans(H100, product, 10**6)[1]
    bounds = [bound for bound, _ in everything]
    assert bounds == sorted(bounds)
    assert len(set(bounds)) < len(bounds)
    for most in (1, 2, 3, 6, 20, 100):
        assert _plans(H100, product, most)[1] == everything[:most]


def test_weights_that_fit_in_l2_are_found_there() -> None:
    cold, warm = (_us(predict_gemm(L40S, 16, 4096, 4096, warm=w)) for w in (False, True))
    assert warm < 0.6 * cold


def test_long_runs_are_slower_than_short_ones() -> None:
    short, long = (_us(predict_gemm(H100, 8192, 8192, 8192, load=x)) for x in (0.01, "steady"))
    assert long == pytest.approx(short * 1755 / 1505, rel=0.02)


def test_fp8_needs_a_gpu_that_multiplies_it() -> None:
    with pytest.raises(SpecError, match=r"a100_sxm_80gb: expected a data type .* found fp8"):
        predict_gemm(A100, 64, 4096, 4096, dtype="fp8")
    wide, narrow = (_us(predict_gemm(H100, 8192, 8192, 8192, dtype=t)) for t in ("bf16", "fp8"))
    assert 0.5 * wide < narrow < 0.75 * wide  # twice the rate; CUTLASS' tiles are smaller


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"m": 0}, r"gemm\.m: expected 1 or more, found 0"),
        ({"groups": -1}, r"gemm\.groups: expected 1 or more, found -1"),
        ({"dtype": "int4"}, r"gemm\.dtype: expected .*, found 'int4'"),
        ({"engine": "magic"}, "engine: expected sim or analytic"),
    ],
)
def test_bad_input_is_refused(given: dict[str, object], message: str) -> None:
    asked = {"m": 8, "n": 64, "k": 64} | given
    with pytest.raises(SpecError, match=message):
        predict_gemm(H100, **asked)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", shipped("hardware"))
def test_every_profile_says_what_products_meet(name: str) -> None:
    gpu = load_gpu(name)
    assert gpu.gemm is not None
    assert gpu.gemm.steady_mhz <= gpu.clock.benchmark_mhz
    assert gpu.gemm.hbm_gb_per_s <= gpu.hbm.peak_gb_per_s
    assert dense_profile(gpu).hbm.sustained_gb_per_s == gpu.gemm.hbm_gb_per_s
    assert {t.matrix_path for t in shipped_tiles(gpu, "bf16")} == {
        "wgmma" if gpu.tensor.wgmma_flop_per_clock else "mma_sync"
    }


def test_a_profile_without_such_numbers_is_taken_as_it_is() -> None:
    plain = H100.model_copy(update={"gemm": None})
    assert dense_profile(plain) is plain
    assert _us(predict_gemm(plain, 16, 4096, 4096)) < _us(predict_gemm(H100, 16, 4096, 4096))


def _row(gpu: str = "l40s", framework: str = "vllm", dtype: str = "bf16") -> GemmRow:
    return GemmRow(gpu=gpu, framework=framework, dtype=dtype, m=8, n=2048, k=2048, measured_us=10.0)


def test_measured_products_take_turns_at_six_weights() -> None:
    """Six times 8 MB are found in the 96 MiB of L40S, not in the 40 MiB of A100."""
    cold, warm = (_us(predict_gemm(L40S, 8, 2048, 2048, warm=w)) for w in (False, True))
    assert predict_gemm_row(_row()) == pytest.approx(warm, rel=0.1)
    assert cold > 1.5 * warm
    cold = _us(predict_gemm(A100, 8, 2048, 2048, load="benchmark"))
    assert predict_gemm_row(_row("a100_sxm_80gb", "sglang")) == pytest.approx(cold, rel=0.05)


@pytest.mark.parametrize("name", gemm_guard.DATASETS)
def test_both_engines_agree_on_measured_rows(name: str) -> None:
    for row in [row for row in gemm_guard.carried(name) if row.measured_us < 500][:6]:
        events = predict_gemm_row(row, engine="sim")
        assert events == pytest.approx(predict_gemm_row(row), rel=0.05)


def test_rows_in_fp8_quantise_their_activations_first() -> None:
    assert predict_gemm_row(_row(dtype="fp8")) > _us(
        predict_gemm(L40S, 8, 2048, 2048, dtype="fp8", warm=True, load="benchmark")
    )


def test_the_roofline_of_a_row() -> None:
    """8 x 2048 x 2048: 8.45 MB at 864 GB/s."""
    moved = 2 * (8 * 2048 + 2048 * 2048 + 8 * 2048)
    assert gemm_roofline_us(_row()) == pytest.approx(moved / 864e3)


@pytest.mark.parametrize("then", gemm_guard.recorded(), ids=lambda m: m.dataset)
def test_the_model_is_as_close_to_measured_products_as_it_was(then: gemm_guard.Median) -> None:
    now = gemm_guard.median_of(then.dataset)
    assert now.rows == gemm_guard.ROWS
    assert not gemm_guard.is_worse(now, then), (
        f"{then.dataset}: median error {100 * now.median_ape:.2f} %, recorded"
        f" {100 * then.median_ape:.2f} %; if that is meant: python -m validation.gemm_guard --write"
    )


def test_a_slower_model_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {m.dataset for m in gemm_guard.recorded()} == set(gemm_guard.DATASETS)
    monkeypatch.setattr(gemm_guard, "predict_gemm_row", lambda row: 1.2 * row.measured_us)
    for then in gemm_guard.recorded():
        assert gemm_guard.is_worse(gemm_guard.median_of(then.dataset), then)


def test_the_guards_rows_are_what_its_seed_draws() -> None:
    if not is_installed():
        pytest.skip(INSTALL)
    name = "aiconfigurator:a100_sxm/vllm"
    assert gemm_guard.drawn(name) == gemm_guard.carried(name)


def test_the_tables_are_of_the_rows_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two products, one above 20 us: the table has its error, and the README has such a table."""
    rows = [_row(), replace(_row(), m=4096, measured_us=100.0)]
    monkeypatch.setattr(gemm, "gemm_datasets", lambda: ["aiconfigurator:l40s/vllm"])
    monkeypatch.setattr(gemm, "read_gemms", lambda _: (rows, None))
    monkeypatch.setattr(gemm, "predict_gemm_row", lambda row: 1.1 * row.measured_us)
    shown = CliRunner().invoke(gemm.main, ["--sample", "2"], catch_exceptions=False).stdout
    line = next(line for line in shown.splitlines() if line.startswith("| `aiconf"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1:7] == ["bf16", "fit", "2", "2", "10", "10"]
    assert cells[9:11] == ["1", "10"]
    stated = README.read_text(encoding="utf-8").partition(gemm.BEGIN)[2].partition(gemm.END)[0]
    assert f"| {gemm.COLUMNS[0].replace('|', ' | ')} |" in stated
