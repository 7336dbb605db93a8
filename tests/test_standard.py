"""Unfused attention: three launches that pass the whole score matrix through memory."""

import pytest

from gpusim.errors import SpecError
from gpusim.machine.place import place
from gpusim.schedules.catalogue import build_launches
from gpusim.schedules.launch import Launch
from gpusim.schedules.mask import useful_flop
from gpusim.spec.attention import Attention, Sequence
from gpusim.spec.load import load_gpu

A100, H100 = load_gpu("a100_sxm_80gb"), load_gpu("h100_sxm")


def _attention(q_len: int, kv_len: int, *, causal: bool = False, **fields: object) -> Attention:
    problem = {"q_heads": 8, "kv_heads": 8, "head_dim": 128, "causal": causal, **fields}
    sequences = (Sequence(q_len=q_len, kv_len=kv_len),)
    return Attention.model_validate({**problem, "sequences": sequences})


def _launches(attention: Attention) -> tuple[Launch, ...]:
    return build_launches("standard", attention, A100, {})


def test_there_are_three_launches_in_order() -> None:
    names = [launch.name for launch in _launches(_attention(256, 512))]
    assert names == ["qk_gemm", "softmax", "pv_gemm"]


def test_scores_beyond_l2_cross_hbm_four_times() -> None:
    """HBM bytes = Q + K + V + O + 4·S: scores written, read, weights written, read."""
    n, heads, dim = 4096, 8, 128
    launches = _launches(_attention(n, n))
    traffic = [placed.traffic for placed in place(launches, A100, load="steady", warm=False)]
    matrix, scores = 2 * heads * n * dim, 2 * heads * n * n
    assert [t.hbm_read_bytes for t in traffic] == [2 * matrix, scores, scores + matrix]
    assert [t.hbm_write_bytes for t in traffic] == [scores, scores, matrix]


def test_scores_that_fit_l2_stay_there() -> None:
    n, heads, dim = 256, 8, 128
    launches = _launches(_attention(n, n))
    traffic = [placed.traffic for placed in place(launches, A100, load="steady", warm=False)]
    matrix = 2 * heads * n * dim
    assert [t.hbm_read_bytes for t in traffic] == [2 * matrix, 0, matrix]
    assert [t.hbm_write_bytes for t in traffic] == [0, 0, matrix]


def test_grids_are_library_tiles_of_128_and_softmax_rows_of_16() -> None:
    qk, softmax, pv = _launches(_attention(1000, 2048))
    assert qk.work.num_items == 8 * 8 * 16
    assert softmax.work.num_items == 8 * 63
    assert pv.work.num_items == 8 * 8
    assert sorted(set(qk.work.tiles.q_rows.tolist())) == [104, 128]


def test_no_tile_is_skipped_under_a_mask() -> None:
    masked, full = _attention(1024, 1024, causal=True), _attention(1024, 1024)
    issued = [sum(launch.issued_flop for launch in _launches(a)) for a in (masked, full)]
    assert issued[0] == issued[1] == useful_flop(full)
    assert useful_flop(masked) == pytest.approx(useful_flop(full) / 2, rel=1e-3)


def test_a_single_query_pays_for_a_whole_tile() -> None:
    one, whole = (
        sum(launch.issued_flop for launch in _launches(_attention(q, 1024))) for q in (1, 128)
    )
    assert one == whole


def test_queries_of_a_group_read_the_same_keys() -> None:
    qk, softmax, pv = _launches(_attention(256, 512, kv_heads=2))
    shared = {o.name: o.heads_per_stream for launch in (qk, softmax, pv) for o in launch.reads}
    assert shared == {"q": 1, "k": 4, "scores": 1, "weights": 1, "v": 4}


def test_matrix_instructions_are_the_fastest_that_the_gpu_has() -> None:
    attention = _attention(256, 256)
    paths = [
        build_launches("standard", attention, gpu, {})[0].step.matrix_path for gpu in (A100, H100)
    ]
    assert paths == ["mma_sync", "wgmma"]


def test_fp8_queries_are_refused() -> None:
    with pytest.raises(SpecError, match=r"attention\.dtype: expected fp16 or bf16, found fp8"):
        build_launches("standard", _attention(256, 256, dtype="fp8"), H100, {})
