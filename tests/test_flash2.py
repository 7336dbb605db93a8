"""FlashAttention-2 as shipped: tiles, grids, packing, and the step of its tiles from pipe sums."""

import pytest

from gpusim.machine.pipes import pipe_rate
from gpusim.machine.step_time import step_time
from gpusim.schedules.catalogue import build_launches
from gpusim.schedules.flash2 import dense_tile
from gpusim.schedules.launch import Launch
from gpusim.schedules.split_kv import split_tile
from gpusim.schedules.step import Pipe
from gpusim.spec.attention import Attention, Sequence
from gpusim.spec.gpu import Gpu
from gpusim.spec.load import load_gpu

A100, H100, ADA = (load_gpu(name) for name in ("a100_sxm_80gb", "h100_sxm", "rtx_6000_ada"))
KIB = 1024


def _attention(
    *, q_len: int, kv_len: int, count: int = 1, head_dim: int = 128, **other: object
) -> Attention:
    sequences = (Sequence(count=count, q_len=q_len, kv_len=kv_len),)
    fields = {"q_heads": 32, "kv_heads": 8, "causal": False, **other}
    return Attention.model_validate({"head_dim": head_dim, "sequences": sequences, **fields})


def _forward(attention: Attention, gpu: Gpu = A100, schedule: str = "flash2") -> Launch:
    return build_launches(schedule, attention, gpu, {})[0]


@pytest.mark.parametrize(
    ("head_dim", "gpu", "causal", "block_m", "block_n", "warps", "smem_kib"),
    [
        (32, A100, True, 128, 128, 4, 24),
        (64, A100, True, 128, 128, 4, 48),
        (64, ADA, False, 128, 128, 4, 48),
        (96, A100, True, 128, 64, 4, 48),
        (96, H100, True, 128, 64, 4, 48),
        (96, ADA, False, 128, 64, 4, 48),
        (96, ADA, True, 64, 64, 4, 36),
        (128, A100, True, 128, 64, 4, 64),
        (128, H100, False, 128, 64, 4, 64),
        (128, ADA, False, 128, 32, 4, 48),
        (128, ADA, True, 64, 64, 4, 48),
        (192, ADA, True, 128, 64, 8, 96),
        (256, A100, True, 128, 64, 8, 128),
        (256, H100, True, 64, 64, 4, 96),
        (256, ADA, False, 64, 64, 4, 96),
    ],
)
def test_dense_tiles_are_those_of_the_launch_template(
    head_dim: int, gpu: Gpu, causal: bool, block_m: int, block_n: int, warps: int, smem_kib: int
) -> None:
    tile = dense_tile(head_dim, gpu, causal=causal)
    assert (tile.block_m, tile.block_n, tile.num_warps) == (block_m, block_n, warps)
    launch = _forward(_attention(q_len=256, kv_len=256, head_dim=head_dim, causal=causal), gpu)
    assert (launch.threads, launch.smem_bytes) == (32 * warps, smem_kib * KIB)


@pytest.mark.parametrize(
    ("head_dim", "block_n", "smem_kib"),
    [(64, 256, 72), (128, 128, 80), (192, 64, 72), (256, 64, 96)],
)
def test_split_tiles_have_64_rows_and_keys_by_head_size(
    head_dim: int, block_n: int, smem_kib: int
) -> None:
    tile = split_tile(head_dim)
    assert (tile.block_m, tile.block_n, tile.num_warps) == (64, block_n, 4)
    assert tile.smem_bytes == smem_kib * KIB


@pytest.mark.parametrize(("head_dim", "padded"), [(40, 64), (80, 96), (120, 128), (200, 256)])
def test_other_head_sizes_run_the_next_larger_kernel(head_dim: int, padded: int) -> None:
    launch = _forward(_attention(q_len=128, kv_len=128, head_dim=head_dim))
    tile = dense_tile(padded, A100, causal=False)
    assert launch.smem_bytes == tile.smem_bytes
    assert launch.step.total(Pipe.TENSOR) == 4 * tile.block_m * tile.block_n * padded


def test_the_grid_is_query_tiles_then_batch_then_heads() -> None:
    launch = _forward(_attention(q_len=1000, kv_len=1000, count=3))
    assert launch.work.num_items == 8 * 3 * 32
    assert launch.work.order().tolist() == list(range(8)) * 3 * 32
    assert launch.work.tiles.q_rows.tolist() == [128] * 7 + [104]


def test_causal_tiles_walk_to_their_diagonal() -> None:
    square = _forward(_attention(q_len=512, kv_len=512, causal=True))
    assert square.work.tiles.steps.tolist() == [2, 4, 6, 8]
    chunk = _forward(_attention(q_len=256, kv_len=512, causal=True))
    assert chunk.work.tiles.steps.tolist() == [6, 8]


def test_a_window_cuts_the_walk_at_both_ends() -> None:
    causal = _forward(_attention(q_len=512, kv_len=512, causal=True, window=128))
    assert causal.work.tiles.steps.tolist() == [2, 4, 4, 4]
    assert causal.work.tiles.kv_start.tolist() == [0, 0, 128, 256]
    both = _forward(_attention(q_len=512, kv_len=512, window=65))
    assert both.work.tiles.steps.tolist() == [3, 4, 4, 3]


def test_heads_are_packed_only_for_single_queries_without_a_window() -> None:
    def packed(**fields: object) -> tuple[int, int]:
        work = _forward(_attention(kv_len=512, **fields)).work  # type: ignore[arg-type]
        return work.packed, work.heads

    assert packed(q_len=1) == (4, 8)
    assert packed(q_len=1, causal=True) == (4, 8)
    assert packed(q_len=2) == (1, 32)
    assert packed(q_len=1, window=128) == (1, 32)
    assert packed(q_len=1, kv_heads=32) == (1, 32)


def test_packed_heads_read_keys_once_a_kv_head_and_fill_one_tile() -> None:
    attention = _attention(q_len=1, kv_len=512)
    launch = _forward(attention)
    assert launch.work.num_items == 8
    assert launch.work.tiles.q_rows.tolist() == [4]
    assert launch.reads[1].requested_bytes == 512 * 8 * attention.kv_row_bytes


def test_a_paged_cache_is_read_by_the_split_kernel_with_one_split() -> None:
    launch = _forward(_attention(q_len=1000, kv_len=1000, page_size=16))
    assert launch.name == "flash_fwd_splitkv"
    assert launch.smem_bytes == 80 * KIB
    assert launch.work.num_items == 16 * 32


def _pipe_sums(launch: Launch, gpu: Gpu) -> tuple[float, float]:
    """Clocks of the matrix parts (slowest pipe of each), and of all other parts, in a row."""
    matrix = other = 0.0
    for part in launch.step.tracks[0]:
        clocks = max(n / pipe_rate(gpu, launch.step, pipe) for pipe, n in part.amounts.items())
        if Pipe.TENSOR in part.amounts:
            matrix += clocks
        else:
            other += clocks
    return matrix, other


def test_the_a100_split_step_is_2688_clocks_of_mma_and_1280_of_softmax() -> None:
    launch = _forward(_attention(q_len=1, kv_len=4096), schedule="flash2_split_kv")
    assert _pipe_sums(launch, A100) == (2688, 1280)
    time = step_time(A100, launch.step, latency_clocks=A100.l2.latency_clocks)
    assert time.alone == 2688 + 1280 + A100.cta.sync_clocks
    assert time.shared == pytest.approx(3968 / A100.overlap.co_resident_gain)
    assert time.per_cta(1) == time.alone
    assert time.per_cta(2) == pytest.approx(2 * 3968 / A100.overlap.co_resident_gain)


def test_the_a100_dense_step_is_3456_clocks_and_bound_by_the_tensor_cores() -> None:
    launch = _forward(_attention(q_len=4096, kv_len=4096))
    assert _pipe_sums(launch, A100) == (2048, 1408)
    assert sum(_pipe_sums(launch, A100)) == 3456


def test_the_ada_split_step_is_at_most_8_percent_above_the_5902_clocks_measured_alone() -> None:
    """Its constants are fitted to whole calls, most of which crowd the GPU and its L2."""
    launch = _forward(_attention(q_len=1, kv_len=4096), gpu=ADA, schedule="flash2_split_kv")
    time = step_time(ADA, launch.step, latency_clocks=ADA.l2.latency_clocks)
    assert 5902 <= time.alone <= 1.08 * 5902


def test_shares_of_a_step_add_up_to_one() -> None:
    for gpu in (A100, H100, ADA):
        for latency in (1.0, 300.0, 1e5):
            step = _forward(_attention(q_len=256, kv_len=256), gpu).step
            time = step_time(gpu, step, latency_clocks=latency)
            assert sum(time.shares.values()) == pytest.approx(1, abs=1e-12)
            assert time.shared >= time.floor
