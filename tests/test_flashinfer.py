"""FlashInfer's planner, tiles and kernels against examples worked out from its source by hand."""

from typing import Any

import numpy as np
import pytest

from gpusim.machine.place import place
from gpusim.schedules.catalogue import build_launches
from gpusim.schedules.flashinfer import flashinfer_attention, flashinfer_tile, planned_work
from gpusim.schedules.flashinfer_decode import flashinfer_cuda_core_decode
from gpusim.schedules.flashinfer_merge import (
    MERGE_INSTRUCTIONS,
    ROW_CLOCKS,
    ROW_INSTRUCTIONS,
    merge_launch,
)
from gpusim.schedules.flashinfer_plan import Plan, decode_plan, prefill_plan
from gpusim.schedules.launch import Launch, footprint
from gpusim.schedules.step import Pipe
from gpusim.spec.attention import Attention, Sequence
from gpusim.spec.load import load_gpu
from gpusim.study import aiconfigurator

L40S = load_gpu("l40s")  # 142 SMs: room for 284 tiles


def _attention(
    count: int, q_len: int, kv_len: int, *, heads: tuple[int, int] = (32, 8), **changes: Any
) -> Attention:
    return Attention.model_validate(
        {
            "q_heads": heads[0],
            "kv_heads": heads[1],
            "head_dim": 128,
            "page_size": 1,
            "sequences": (Sequence(count=count, q_len=q_len, kv_len=kv_len),),
        }
        | changes
    )


def _names(kernel: str, attention: Attention) -> list[str]:
    return [launch.name for launch in build_launches(kernel, attention, L40S, {})]


def test_a_decode_batch_is_cut_into_the_smallest_chunks_that_fit() -> None:
    # Room for 284 / 8 = 35 items a head: 4,096 keys in chunks of 128, the least, are 32.
    decode = _attention(1, 1, 4096)
    assert prefill_plan(decode, L40S) == Plan(rows=16, chunk=128, parts=(32,), items=32)
    # Three of 4,096: 11 items each; 373 keys a chunk are the fewest that do with 11.
    assert prefill_plan(_attention(3, 1, 4096), L40S) == Plan(
        rows=16, chunk=373, parts=(11,), items=33
    )


def test_a_plan_for_a_captured_graph_has_all_the_room_and_always_merges() -> None:
    decode = _attention(1, 1, 4096, page_size=64)
    assert prefill_plan(decode, L40S, captured=True) == Plan(
        rows=16, chunk=128, parts=(32,), items=35
    )
    short = prefill_plan(_attention(2, 1, 64), L40S, captured=True)
    assert (short.chunk, short.parts, short.items) == (128, (1,), 35)
    # 100 sequences have no room to be cut: ceil(100·4 / 16) + 100 - 1 = 124 items at the most.
    many = prefill_plan(_attention(100, 1, 64), L40S, captured=True)
    assert (many.chunk, many.parts, many.items) == (128, (1,), 124)


def test_prompts_are_cut_while_their_tiles_leave_room() -> None:
    # 256 tokens of eight packed heads: 16 tiles of 128 rows, or 32 of 64 at head size 256.
    prompt = _attention(1, 256, 256, heads=(8, 1))
    assert prefill_plan(prompt, L40S) == Plan(rows=128, chunk=128, parts=(2,), items=32)
    wide = prompt.model_copy(update={"head_dim": 256})
    assert prefill_plan(wide, L40S) == Plan(rows=64, chunk=128, parts=(2,), items=64)
    # 2 · ceil(700·4 / 128) = 44 tiles are more than 35.
    full = prefill_plan(_attention(2, 700, 700), L40S)
    assert full == Plan(rows=128, chunk=None, parts=(1,), items=44)


def test_a_window_shortens_what_is_cut() -> None:
    # The least chunk is two pages of 64. Without page tables of the window alone, a tile of 16
    # rows reaches 127 + 16 keys back: 3 pages, 2 chunks.
    decode = _attention(1, 1, 4096, page_size=64, window=128)
    assert prefill_plan(decode, L40S, captured=True).parts == (2,)
    assert prefill_plan(decode, L40S, indexed=True).parts == (1,)


def test_decode_on_cuda_cores_is_cut_only_while_slots_are_free() -> None:
    decode = _attention(1, 1, 1000, heads=(8, 8))
    assert decode_plan(decode, 284) == Plan(rows=1, chunk=128, parts=(8,), items=8)
    assert decode_plan(_attention(36, 1, 1000, heads=(8, 8)), 284).chunk is None
    assert decode_plan(_attention(1, 1, 128, heads=(8, 8)), 284).chunk is None


@pytest.mark.parametrize(
    ("rows", "changes", "keys", "smem"),
    [
        (128, {}, 32, 32768 + 2 * 8192),
        (128, {"kv_dtype": "fp8"}, 64, 32768 + 2 * 8192),
        (64, {"head_dim": 256}, 16, 32768 + 2 * 8192),
        (16, {}, 64, 4096 + 2 * 16384),
        (16, {"kv_dtype": "fp8"}, 128, 4096 + 2 * 16384),
        (16, {"head_dim": 256}, 64, 8192 + 2 * 32768),  # one CTA an SM
        (16, {"head_dim": 64}, 128, 2048 + 2 * 16384),
    ],
)
def test_tiles_fill_half_of_the_shared_memory(
    rows: int, changes: dict[str, Any], keys: int, smem: int
) -> None:
    tile = flashinfer_tile(_attention(1, 1, 512, **changes), L40S, rows)
    assert (tile.block_n, tile.smem_bytes) == (keys, smem)


@pytest.mark.parametrize("window", [None, 300])
def test_parts_of_a_tile_cover_its_keys_once(window: int | None) -> None:
    attention = _attention(2, 50, 1000, window=window)
    plan = Plan(rows=64, chunk=128, parts=(8,), items=64)
    tiles = planned_work(attention, plan, block_n=32).tiles
    uncut = Plan(rows=64, chunk=None, parts=(1,), items=8)
    whole = planned_work(attention, uncut, block_n=32).tiles
    assert len(whole) == 4  # 50·4 rows in 64s
    for tile in range(len(whole)):
        mine = tiles.q_start == 64 * tile
        keys = np.concatenate(
            [
                np.arange(a, b)
                for a, b in zip(tiles.kv_start[mine], tiles.kv_stop[mine], strict=True)
            ]
        )
        assert keys.tolist() == list(range(whole.kv_start[tile], whole.kv_stop[tile]))


def test_row_sums_are_matrix_instructions() -> None:
    (launch,) = flashinfer_attention(_attention(2, 700, 700), L40S, name="batch_prefill")
    scores = 128 * 32
    assert launch.step.total(Pipe.TENSOR) == scores * (2 * 128 + 2 * 128 + 16)
    assert launch.step.total(Pipe.FP32) == 2 * scores + 128 * 128


def test_every_warp_unpacks_the_fp8_keys_it_reads() -> None:
    def unpack(attention: Attention) -> float:
        launch = flashinfer_attention(attention, L40S, name="kernel")[0]
        part = launch.step.tracks[0][0]
        assert part.name == "unpack"
        return part.amounts[Pipe.FP32] / (launch.step.load_bytes * 5.75)

    assert unpack(_attention(2, 700, 700, kv_dtype="fp8")) == 4  # warps with rows of their own
    assert unpack(_attention(2, 1, 700, kv_dtype="fp8")) == 1  # warps share out the keys


def test_a_row_of_each_head_and_query_is_merged() -> None:
    attention = _attention(1, 256, 256, heads=(8, 1))
    forward, merge = flashinfer_attention(attention, L40S, name="batch_prefill")
    assert merge.work.num_items == 256 * 8
    assert merge.reads[0].unique_bytes == 2 * 256 * 8 * (2 * 128 + 4)
    assert merge.reads[0].unique_bytes == forward.writes[0].unique_bytes


def test_rows_on_one_sm_are_merged_together() -> None:
    """Issue slots, four a clock: a lone row has them to itself, ten on an SM share them."""
    plan = Plan(rows=16, chunk=128, parts=(2,), items=2)
    alone = 4 * (ROW_INSTRUCTIONS + 8 * MERGE_INSTRUCTIONS) / 4

    def clocks(batch: int) -> float:
        launch = merge_launch(_attention(batch, 1, 256, heads=(1, 1)), L40S, plan)
        (placed,) = place((launch,), L40S, load="benchmark", warm=True)
        return placed.latency_us * placed.clock - ROW_CLOCKS

    assert clocks(1) == pytest.approx(alone)
    assert clocks(143) == pytest.approx(2 * alone)
    assert clocks(100_000) == pytest.approx(10 * alone)


def _decode(attention: Attention) -> Launch:
    launches = build_launches("sglang_flashinfer", attention, L40S, {})
    return next(launch for launch in launches if launch.name == "batch_decode")


def test_sglang_decodes_on_cuda_cores_below_four_heads_a_group() -> None:
    assert "block_m" not in _decode(_attention(2, 1, 500, heads=(24, 8))).tile
    assert _decode(_attention(2, 1, 500, heads=(32, 8))).tile["block_m"] == 16
    fp8 = _attention(2, 1, 500, heads=(24, 8), kv_dtype="fp8")
    assert _decode(fp8).tile["block_m"] == 16


@pytest.mark.parametrize(
    ("heads", "head_dim", "threads", "keys", "smem"),
    [
        (8, 128, 128, 32, 2 * 2 * 32 * 256 + 4 * 128 * 8),  # 16 lanes, 8 keys, 4 at a time
        (16, 128, 128, 8, 2 * 2 * 8 * 256 + 128 * 8),  # 16 lanes, 2 heads, 4 keys
        (24, 256, 96, 3, 2 * 2 * 3 * 512 + 96 * 8),  # 32 lanes, 3 heads, 1 key
    ],
)
def test_threads_of_decode_on_cuda_cores(
    heads: int, head_dim: int, threads: int, keys: int, smem: int
) -> None:
    attention = _attention(64, 1, 500, heads=(heads, 8), head_dim=head_dim)
    launch = flashinfer_cuda_core_decode(attention, L40S)[0]
    assert (launch.threads, launch.tile["block_n"], launch.smem_bytes) == (threads, keys, smem)


def test_sglang_writes_the_cache_after_a_prompt_and_before_decode() -> None:
    assert _names("sglang_flashinfer", _attention(2, 700, 700)) == ["batch_prefill", "cache_write"]
    assert _names("sglang_flashinfer", _attention(500, 1, 90)) == ["cache_write", "batch_decode"]
    assert _names("sglang_flashinfer", _attention(2, 700, 700, kv_dtype="fp8")) == [
        "batch_prefill",
        "convert_k",
        "convert_v",
        "cache_write",
    ]
    assert _names("sglang_flashinfer", _attention(2, 1, 1))[0] == "batch_prefill"


def test_a_prompts_keys_are_read_twice_and_converted_once() -> None:
    """Sixteen bits for attention and conversion, eight for the cache: no tensor counts twice."""
    prompt = _attention(2, 700, 700, kv_dtype="fp8")
    launches = build_launches("sglang_flashinfer", prompt, L40S, {})
    elements = 2 * 700 * 8 * 2 * 128
    queries = 2 * 700 * 32 * 128
    assert footprint(launches) == 2 * 2 * queries + (2 + 1 + 1) * elements
    assert [o.name for o in launches[-1].reads] == ["new_kv_8"]


def test_sglangs_prompts_ignore_the_window() -> None:
    windowed = build_launches("sglang_flashinfer", _attention(2, 700, 700, window=128), L40S, {})
    full = build_launches("sglang_flashinfer", _attention(2, 700, 700), L40S, {})
    assert windowed[0].amount(Pipe.TENSOR) == full[0].amount(Pipe.TENSOR)


def test_vllm_always_merges_after_a_captured_decode() -> None:
    fp8: dict[str, Any] = {"kv_dtype": "fp8", "page_size": None}
    assert _names("flashinfer", _attention(2, 1, 90, **fp8)) == [
        "cache_write",
        "batch_decode",
        "merge",
    ]
    wide = _attention(513, 1, 90, **fp8)
    assert _names("flashinfer", wide) == ["cache_write", "batch_decode"]


@pytest.mark.parametrize(
    ("source", "size", "window"),
    [("flashinfer", 8192, None), ("flashinfer", 1024, 1024), ("fa3", 8192, 8192)],
)
def test_llama_4s_chunks_are_no_window_to_sglangs_flashinfer(
    source: str, size: int, window: int | None
) -> None:
    raw = {
        "framework": "SGLang",
        "version": "0.5.14",
        "kernel_source": source,
        "batch_size": 1,
        "isl": 1,
        "step": 9000,
        "num_heads": 40,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "attn_dtype": "bfloat16",
        "kv_cache_dtype": "bfloat16",
        "window_size": size,
        "latency": 0.1,
    }
    row = aiconfigurator._row(raw, "l40s", "generation", "row")
    assert row.attention.window == window
