"""Attention as frameworks ship it: which launches, in which order, with which tiles."""

import pytest

from gpusim.errors import SpecError
from gpusim.machine.place import place
from gpusim.schedules.catalogue import SCHEDULES, build_launches
from gpusim.schedules.flash3_prepare import prepare_launch
from gpusim.schedules.implementations import IMPLEMENTATIONS
from gpusim.schedules.launch import Launch
from gpusim.spec.attention import Attention, Sequence
from gpusim.spec.gpu import Gpu
from gpusim.spec.load import load_gpu
from gpusim.study.simulate import simulate

A100, H100, L40S = (load_gpu(n) for n in ("a100_sxm_80gb", "h100_sxm", "l40s"))


def attention(count: int, q_len: int, kv_len: int, *, kv_heads: int = 8) -> Attention:
    """32 query heads of 128."""
    return Attention(
        q_heads=32,
        kv_heads=kv_heads,
        head_dim=128,
        sequences=(Sequence(count=count, q_len=q_len, kv_len=kv_len),),
    )


def names(implementation: str, problem: Attention) -> list[str]:
    """Kernel names in launch order, on A100."""
    return [launch.name for launch in build_launches(implementation, problem, A100, {})]


def test_vllm_decode_copies_queries_and_outputs_around_packed_heads() -> None:
    """Measured on L40S: one extra kernel with one sequence or KV head, three more otherwise."""
    alone = names("vllm_flash_attn_2", attention(1, 1, 256))
    assert alone == ["cache_write", "copy_in_0", "flash_fwd_splitkv", "combine"]
    several = names("vllm_flash_attn_2", attention(4, 1, 256))
    assert [name for name in several if name.startswith("copy")] == [
        "copy_in_0",
        "copy_in_1",
        "copy_out_0",
        "copy_out_1",
    ]
    older = names("vllm_0_14_flash_attn_2", attention(4, 1, 256))
    assert [n for n in older if n.startswith("copy_out")] == [f"copy_out_{i}" for i in range(3)]
    mha = names("vllm_flash_attn_2", attention(4, 1, 256, kv_heads=32))
    assert mha == ["cache_write", "flash_fwd_splitkv"]


def test_vllm_never_splits_heads_that_are_not_packed() -> None:
    launches = build_launches("vllm_flash_attn_2", attention(1, 1, 65536, kv_heads=32), A100, {})
    assert launches[-1].tile["num_splits"] == 1


def test_vllm_prefill_runs_the_paged_tile_of_64_rows() -> None:
    launch = build_launches("vllm_flash_attn_2", attention(1, 4096, 4096), A100, {})[-1]
    assert (launch.tile["block_m"], launch.tile["block_n"]) == (64, 128)
    dense = build_launches("flash_attn_2", attention(1, 4096, 4096), A100, {})[-1]
    assert (dense.tile["block_m"], dense.tile["block_n"]) == (128, 64)


def test_sglang_runs_flash_attention_3_everywhere() -> None:
    assert "flash_fwd_sm80" in names("sglang_flash_attn_3", attention(8, 1, 512))
    hopper = build_launches("sglang_flash_attn_3", attention(8, 1, 512), H100, {})
    forward = hopper[1]
    assert forward.name == "flash_fwd_sm90"
    assert (forward.tile["block_m"], forward.tile["block_n"]) == (64, 128)


@pytest.mark.parametrize(
    ("batch", "splits"), [(1, 16), (16, 16), (17, 1)], ids=["few", "at 128", "above 128"]
)
def test_vllm_triton_cuts_16_segments_up_to_128_sequences_and_heads(
    batch: int, splits: int
) -> None:
    launches = build_launches("vllm_triton", attention(batch, 1, 8192), A100, {})
    forward = next(la for la in launches if la.name.startswith("unified"))
    assert forward.tile["num_splits"] == splits
    assert (launches[-1].name == "combine") == (splits > 1)


def test_vllm_triton_segments_take_whole_tiles_and_each_head_is_reduced_by_a_cta() -> None:
    """300 keys in 16 segments: 19 are two tiles of 16, so ten segments; 0.3 * 6 idle ones."""
    launches = build_launches("vllm_triton", attention(2, 1, 300), L40S, {})
    forward, reduce = launches[-2:]
    assert forward.work.tiles.steps.tolist() == [2] * 9 + [1, 0, 0]
    assert forward.tile["block_n"] == 16
    assert (reduce.num_ctas, reduce.step.stages) == (2 * 32, 16)


def test_sglang_triton_has_at_most_eight_splits() -> None:
    launches = build_launches("sglang_triton", attention(1, 1, 100_000), A100, {})
    assert launches[1].tile["num_splits"] == 8
    assert [launch.name for launch in launches] == ["cache_write", "decode_attention", "combine"]


@pytest.mark.parametrize("gpu", [A100, H100, L40S], ids=lambda gpu: gpu.name)
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_every_implementation_runs_prefill_and_decode_in_both_engines(name: str, gpu: Gpu) -> None:
    if name.endswith("triton_flash3") and gpu is not H100:
        with pytest.raises(SpecError, match="expected a GPU with warpgroup instructions"):
            simulate(attention(2, 700, 700), gpu, name)
        return
    prompts = () if "santa" in name else (attention(2, 700, 700),)
    for problem in (*prompts, attention(6, 1, 3000)):
        times = [
            simulate(problem, gpu, name, engine, l2="warm", load="benchmark").time_us
            for engine in ("sim", "analytic")
        ]
        assert times[1] == pytest.approx(times[0], rel=0.25)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head_dim": 96}, "head_dim: expected 64 or 128 for K and V, found 96 and 96"),
        ({"kv_dtype": "fp8"}, "kv_dtype: expected fp16 or bf16, found fp8"),
        ({"page_size": 16}, "page_size: expected none, found 16"),
    ],
)
@pytest.mark.parametrize("name", [n for n in IMPLEMENTATIONS if n.startswith("gpusim_triton_")])
def test_the_projects_kernels_refuse_what_they_are_not_built_for(
    name: str, change: dict[str, object], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        build_launches(name, attention(2, 1, 700).model_copy(update=change), H100, {})


def test_prompts_find_their_new_keys_in_l2() -> None:
    """1k tokens of 8 heads write 4.2 MB; an H100 keeps them, and reads only Q from HBM."""
    launches = build_launches("vllm_flash_attn_3", attention(1, 1024, 1024), H100, {})
    traffic = {p.launch.name: p.traffic for p in place(launches, H100, load="steady", warm=False)}
    assert traffic["flash_fwd_sm90"].hbm_read_bytes == 1024 * 32 * 128 * 2


def test_sglang_triton_prefill_passes_over_the_tiles_out_of_a_window() -> None:
    """Measured on L40S: 12.6 ms with a window of 128 where all keys take 18.8 ms."""
    full, windowed = (
        simulate(
            Attention(
                q_heads=64,
                kv_heads=8,
                head_dim=64,
                window=window,
                sequences=(Sequence(q_len=16384, kv_len=16384),),
            ),
            L40S,
            "sglang_triton",
        ).time_us
        for window in (None, 128)
    )
    assert 0.4 * full < windowed < 0.8 * full


def test_the_cache_write_moves_the_new_keys_and_values_once_in_and_once_out() -> None:
    problem = attention(3, 100, 100)
    write = build_launches("vllm_flash_attn_2", problem, A100, {})[0]
    new = 3 * 100 * 8 * 2 * 128 * 2
    assert sum(o.unique_bytes for o in write.reads) == new
    assert sum(o.unique_bytes for o in write.writes) == new


def test_any_window_keeps_vllm_heads_apart() -> None:
    """Measured on L40S: a window makes decode 2 to 8 times slower, also one that hides nothing."""
    packed = build_launches("vllm_flash_attn_2", attention(2, 1, 300), A100, {})
    windowed = attention(2, 1, 300).model_copy(update={"window": 4096})
    apart = build_launches("vllm_flash_attn_2", windowed, A100, {})
    assert [launch.name for launch in apart] == ["cache_write", "flash_fwd_splitkv"]
    split = next(launch for launch in packed if launch.name == "flash_fwd_splitkv")
    assert (split.work.packed, apart[-1].work.packed) == (4, 1)
    assert apart[-1].num_ctas == 2 * 32


def test_sglang_runs_small_kernels_before_fp8_decode_and_head_size_192() -> None:
    def first(problem: Attention) -> list[str]:
        launches = build_launches("sglang_flash_attn_3", problem, H100, {})
        named = [launch.name for launch in launches]
        return named[: named.index("cache_write")]

    decode = attention(4, 1, 500)
    assert first(decode) == []
    fp8 = decode.model_copy(update={"kv_dtype": "fp8"})
    assert first(fp8) == ["cast_k", "cast_v", "cast_q"]
    assert first(attention(4, 500, 500).model_copy(update={"kv_dtype": "fp8"})) == []
    assert len(first(decode.model_copy(update={"head_dim": 192}))) == 5


def test_the_constant_of_a_version_is_spent_once() -> None:
    launches = build_launches("sglang_flash_attn_3", attention(4, 1, 500), H100, {})
    assert launches[0].lead_us > 0
    assert not any(launch.lead_us for launch in launches[1:])


def test_flash3_workers_walk_over_the_batch_between_items() -> None:
    """2,048 sequences of one KV head, an item each: 132 workers pass 132 sequences an item.

    At d = 128 a paged call stays causal, whose order is one more read from L2 (370 clocks).
    """
    wide = Attention(
        q_heads=8,
        kv_heads=1,
        head_dim=128,
        sequences=(Sequence(count=2048, q_len=1, kv_len=64),),
    )
    launches = build_launches("sglang_flash_attn_3", wide, H100, {})
    forward = next(x for x in launches if x.name == "flash_fwd_sm90")
    assert forward.item_clocks == pytest.approx(370 + 580 * 132 / 31)
    few = build_launches("sglang_flash_attn_3", attention(2, 1, 500), H100, {})
    found = next(x for x in few if x.name == "flash_fwd_sm90").item_clocks
    assert found == pytest.approx(370 + 580 * 2 / 31)
    prompt = build_launches("sglang_flash_attn_3", attention(1, 500, 500), H100, {})
    found = next(x for x in prompt if x.name == "flash_fwd_sm90").item_clocks
    assert found == pytest.approx(1500 + 370 + 580 / 31)


def test_sglang_plans_decode_ahead_but_not_prompts_nor_windows() -> None:
    """What was planned ahead leaves a counter to reset, or a combine kernel that resets it."""

    def around(problem: Attention) -> list[str]:
        launches = build_launches("sglang_flash_attn_3", problem, H100, {})
        return [x.name for x in launches if x.name not in ("cache_write", "flash_fwd_sm90")]

    assert around(attention(64, 1, 100)) == ["reset"]
    assert around(attention(1, 1, 5000)) == ["combine"]
    assert around(attention(64, 1, 500).model_copy(update={"window": 128})) == ["prepare"]
    assert around(attention(4, 500, 500)) == ["prepare"]
    assert around(attention(4, 1, 1)) == ["prepare"]


def test_vllm_plans_ahead_and_combines_wherever_a_graph_may_be_captured() -> None:
    """Up to 512 tokens and two for each sequence, 32 splits are allowed; one is what 64 get.

    64 sequences of 32 heads make 2,048 rows, in CTAs of 8, and one more for each sequence.
    """
    decode = build_launches("vllm_flash_attn_3", attention(64, 1, 100), H100, {})
    assert [x.name for x in decode] == ["cache_write", "flash_fwd_sm90", "combine"]
    combine = decode[-1]
    assert combine.num_ctas == 2048 / 8 + 64
    assert combine.plain
    assert (combine.reads, combine.writes) == ((), ())
    assert combine.item_clocks == 580 * (1 + 2) / 2
    many = build_launches("vllm_flash_attn_3", attention(600, 1, 100), H100, {})
    assert [x.name for x in many] == ["cache_write", "flash_fwd_sm90", "reset"]


@pytest.mark.parametrize(
    ("batch", "threads", "ctas", "clocks"),
    [
        (31, 32, 1, 15 * (72 + 4)),
        (32, 64, 1, 21 * (72 + 8)),
        (992, 1024, 1, 55 * (72 + 128)),
        (993, 1024, 2, 55 * (72 + 128)),
    ],
)
def test_a_plan_in_the_call_sorts_its_sequences(
    batch: int, threads: int, ctas: int, clocks: float
) -> None:
    """log2 n rounds of merging search 1, 2, ... times; 32 threads: 5 rounds, 15 comparisons."""
    prepare = prepare_launch(batch, H100, sorts=True)
    assert (prepare.threads, prepare.num_ctas) == (threads, ctas)
    assert prepare.item_clocks == clocks
    assert prepare_launch(batch, H100, sorts=False).item_clocks == 0


def test_sglangs_prompts_attend_to_their_own_keys() -> None:
    def forward(kernel: str, problem: Attention) -> Launch:
        launches = build_launches(kernel, problem, L40S, {})
        return next(launch for launch in launches if launch.name == "batch_prefill")

    fp8 = {"kv_dtype": "fp8"}
    prompt = attention(2, 700, 700).model_copy(update=fp8)
    own, cached = (forward(name, prompt) for name in ("sglang_flashinfer", "flashinfer"))
    assert own.step.load_bytes == 32 * 2 * 128 * 2  # keys, K and V, head size, 16 bit
    assert cached.step.load_bytes == 64 * 2 * 128
    chunk = attention(2, 300, 700).model_copy(update=fp8)
    assert forward("sglang_flashinfer", chunk).step.load_bytes == cached.step.load_bytes


#: FlashAttention-1's steps are made anew for each problem.
SHARING = sorted({*SCHEDULES, *IMPLEMENTATIONS} - {"gpusim_triton_flash1"})


@pytest.mark.parametrize("name", [n for n in SHARING if "santa" not in n and "fp8" not in n])
def test_problems_of_other_lengths_have_the_same_step_objects(name: str) -> None:
    first, second = (
        build_launches(name, attention(1, 1, kv_len), H100, {}) for kv_len in (4096, 6000)
    )
    assert [launch.name for launch in first] == [launch.name for launch in second]
    for one, other in zip(first, second, strict=True):
        assert one.step is other.step
