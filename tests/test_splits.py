"""FlashAttention-2's split heuristic against schedules worked by hand from its rule."""

import numpy as np
import pytest

from gpusim.schedules.catalogue import build_launches
from gpusim.schedules.splits import flash2_num_splits
from gpusim.spec.attention import Attention, Sequence
from gpusim.spec.load import load_gpu

KI = 1024
A100, H100, ADA = "a100_sxm_80gb", "h100_sxm", "rtx_6000_ada"


def _decode(batch: int, q_heads: int, kv_heads: int, kv_len: int, head_dim: int) -> Attention:
    return Attention(
        q_heads=q_heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        sequences=(Sequence(count=batch, q_len=1, kv_len=kv_len),),
    )


#: (batch, query heads, KV heads, KV length, head size), GPU, splits, CTAs, wave efficiency over the
#: 2·SMs slots that the heuristic assumes.
WORKED = [
    ((1, 32, 8, 32 * KI, 128), A100, 24, 192, 0.89),
    ((1, 32, 8, 32 * KI, 128), H100, 29, 232, 0.88),
    ((1, 32, 8, 32 * KI, 128), ADA, 29, 232, 0.82),
    ((4, 32, 8, 32 * KI, 128), A100, 6, 192, 0.89),
    ((4, 32, 8, 32 * KI, 128), H100, 7, 224, 0.85),
    ((4, 32, 8, 32 * KI, 128), ADA, 8, 256, 0.90),
    ((1, 56, 56, 128 * KI, 64), A100, 7, 392, 0.91),
    ((1, 56, 56, 128 * KI, 64), H100, 4, 224, 0.85),
    ((1, 56, 56, 128 * KI, 64), ADA, 5, 280, 0.99),
    ((1, 40, 10, 64 * KI, 128), A100, 19, 190, 0.88),
    ((1, 40, 10, 64 * KI, 128), H100, 23, 230, 0.87),
    ((1, 40, 10, 64 * KI, 128), ADA, 23, 230, 0.81),
]


@pytest.mark.parametrize(("shape", "gpu_name", "splits", "ctas", "efficiency"), WORKED)
def test_worked_decode_shapes_split_as_the_heuristic_says(
    shape: tuple[int, int, int, int, int], gpu_name: str, splits: int, ctas: int, efficiency: float
) -> None:
    gpu = load_gpu(gpu_name)
    forward, combine = build_launches("flash2_split_kv", _decode(*shape), gpu, {})
    assert forward.work.num_items == ctas
    assert ctas == shape[0] * shape[2] * splits
    assert combine.work.tiles.steps.tolist() == [splits]
    waves = ctas / (2 * gpu.sm.count)
    assert round(waves / np.ceil(waves), 2) == pytest.approx(efficiency, abs=1e-9)


def test_tiles_that_fill_four_fifths_of_the_slots_are_not_split() -> None:
    assert flash2_num_splits(80, 100, 1000) == 1
    assert flash2_num_splits(79, 100, 1000) > 1


def test_of_48_tiles_on_108_slots_two_splits_win_over_three() -> None:
    # The example in the heuristic's own comment: 2 splits use 0.89 of a wave, 3 use 0.67 of two.
    assert flash2_num_splits(48, 108, 64) == 2


@pytest.mark.parametrize("tiles", [1, 3, 8, 17, 40, 100])
@pytest.mark.parametrize("blocks", [1, 2, 5, 16, 63, 256, 1000])
@pytest.mark.parametrize("slots", [132, 216, 284])
def test_the_choice_is_the_smallest_eligible_one_within_85_percent(
    tiles: int, blocks: int, slots: int
) -> None:
    def per_split(splits: int) -> int:
        return -(-blocks // splits)

    def efficiency(splits: int) -> float:
        waves = tiles * splits / slots
        return waves / float(np.ceil(waves))

    eligible = [
        s
        for s in range(1, min(128, slots, blocks) + 1)
        if s == 1 or per_split(s) != per_split(s - 1)
    ]
    best = max(map(efficiency, eligible))
    expected = next(s for s in eligible if efficiency(s) >= 0.85 * best)
    assert flash2_num_splits(tiles, slots, blocks) == expected
    assert 1 <= expected <= blocks


def test_every_split_of_equal_sequences_gets_at_least_one_block() -> None:
    gpu = load_gpu(A100)
    for kv_len in range(1, 4097, 97):
        forward = build_launches("flash2_split_kv", _decode(1, 32, 8, kv_len, 128), gpu, {})[0]
        assert forward.work.tiles.steps.min() >= 1


def test_ragged_queries_are_never_split() -> None:
    ragged = _decode(1, 32, 8, 32 * KI, 128).model_copy(
        update={"sequences": (Sequence(q_len=1, kv_len=32 * KI), Sequence(q_len=2, kv_len=64))}
    )
    launches = build_launches("flash2_split_kv", ragged, load_gpu(A100), {})
    assert [launch.name for launch in launches] == ["flash_fwd_splitkv"]


def test_a_number_of_splits_that_the_user_gives_is_taken() -> None:
    attention = _decode(1, 32, 8, 1000, 128)
    forward, combine = build_launches(
        "flash2_split_kv", attention, load_gpu(A100), {"num_splits": 3}
    )
    assert forward.work.tiles.steps.tolist() == [3, 3, 2]
    assert forward.work.tiles.kv_start.tolist() == [0, 384, 768]
    assert forward.work.tiles.kv_stop.tolist() == [384, 768, 1000]
    assert combine.work.num_items == 32 // 4
