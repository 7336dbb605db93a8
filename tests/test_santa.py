"""The SANTA schedules: launches, traffic and bounds worked by hand, contracts, and their gain."""

from typing import Any

import contracts
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gpusim.analytic.bounds import pipe_bound
from gpusim.errors import SpecError
from gpusim.machine.place import place
from gpusim.result import Result
from gpusim.schedules.catalogue import SCHEDULES, build_launches
from gpusim.schedules.implementations import IMPLEMENTATIONS
from gpusim.schedules.launch import Launch, Operand
from gpusim.schedules.santa_prop import MAX_BATCH
from gpusim.schedules.step import Pipe
from gpusim.spec.attention import Attention, Sequence
from gpusim.spec.gpu import Gpu
from gpusim.spec.load import load_gpu, shipped
from gpusim.study.simulate import simulate

A100, H100, ADA = "a100_sxm_80gb", "h100_sxm", "rtx_6000_ada"
KI = 1024
MB = 1e6
SAMPLED = tuple(name for name, schedule in SCHEDULES.items() if not schedule.exact)
#: The project's own kernels, which take one length a batch and no options.
OWN = tuple(name for name, shipped in IMPLEMENTATIONS.items() if not shipped.exact)


def _llama(kv_len: int = 32 * KI, batch: int = 1, **other: Any) -> Attention:
    """Decode in the shape of Llama-3.1-8B."""
    shape = {"q_heads": 32, "kv_heads": 8, "head_dim": 128, **other}
    return Attention(sequences=(Sequence(count=batch, q_len=1, kv_len=kv_len),), **shape)


def _flash(attention: Attention, gpu: str = ADA, **options: Any) -> tuple[Launch, Launch]:
    fused, finalize = build_launches("santa_flash", attention, load_gpu(gpu), options)
    return fused, finalize


def _prop(attention: Attention, gpu: str = ADA, **options: Any) -> tuple[Launch, ...]:
    return build_launches("santa_prop", attention, load_gpu(gpu), options)


def _operand(launch: Launch, name: str) -> Operand:
    (found,) = (o for o in (*launch.reads, *launch.writes) if o.name.partition("[")[0] == name)
    return found


@pytest.mark.parametrize(
    ("kv_len", "keys", "warps", "smem"),
    [(1536, 32, 4, 1264), (1537, 64, 4, 2416), (3072, 64, 4, 2416), (3073, 256, 8, 9392)],
)
def test_tiles_of_the_fused_kernel_follow_the_length(
    kv_len: int, keys: int, warps: int, smem: int
) -> None:
    fused, _ = _flash(_llama(kv_len))
    assert fused.tile["block_n"] == keys
    assert (fused.threads, fused.smem_bytes) == (32 * warps, smem)
    assert fused.num_ctas == -(-kv_len // keys) * 8


def test_the_flash_launches_at_32k_are_those_of_the_release() -> None:
    fused, finalize = _flash(_llama(batch=3))
    assert (fused.num_ctas, fused.threads) == (128 * 8 * 3, 256)
    assert fused.tile["samples_per_tile"] == 16
    assert (finalize.num_ctas, finalize.threads) == (32 * 3, 256)
    assert finalize.smem_bytes == (128 + 256) * 4


@pytest.mark.parametrize(
    ("gpu_name", "registers", "waves"), [(A100, 47, 1.90), (H100, 48, 1.55), (ADA, 48, 1.44)]
)
def test_five_fused_ctas_share_an_sm_and_make_less_than_two_waves(
    gpu_name: str, registers: int, waves: float
) -> None:
    gpu = load_gpu(gpu_name)
    fused, _ = place(_flash(_llama(), gpu_name), gpu, load="steady", warm=False)
    assert fused.launch.registers == registers
    assert fused.occupancy.ctas_per_sm == 5
    assert fused.occupancy.limiter == "registers"
    assert fused.launch.num_ctas / fused.slots == pytest.approx(waves, abs=0.005)


@pytest.mark.parametrize(
    ("gpu_name", "pass1", "pass2"), [(A100, (40, 6), 4), (H100, (48, 5), 4), (ADA, (40, 6), 3)]
)
def test_the_prop_launches_at_32k_are_those_of_the_release(
    gpu_name: str, pass1: tuple[int, int], pass2: int
) -> None:
    gpu = load_gpu(gpu_name)
    placed = place(_prop(_llama(), gpu_name), gpu, load="steady", warm=False)
    launches = [p.launch for p in placed]
    assert [(la.name, la.num_ctas, la.threads) for la in launches] == [
        ("pass1_vec", 1024, 256),
        ("tile_budgets", 32, 128),
        ("fill", 8, 128),
        ("pass2", 1024, 512),
        ("cast_scale", 16, 256),
    ]
    assert [la.smem_bytes for la in launches] == [4240, 144 + 8 * 128, 0, 16 + 5120, 0]
    assert (launches[0].registers, placed[0].occupancy.ctas_per_sm) == pass1
    assert placed[3].occupancy.ctas_per_sm == pass2


def test_each_sequence_of_a_batch_brings_the_prop_launches_again() -> None:
    """Q, K, V and O are its own; scratch memory is used again."""
    attention = _llama(2000).model_copy(
        update={"sequences": (Sequence(q_len=1, kv_len=2000, count=2), Sequence(q_len=1, kv_len=9))}
    )
    launches = _prop(attention)
    assert [la.name for la in launches] == 3 * [
        "pass1_wmma",
        "tile_budgets",
        "fill",
        "pass2",
        "cast_scale",
    ]
    assert [o.name for o in launches[5].reads] == ["q[1]", "k[1]"]
    assert [o.name for o in launches[5].writes] == ["stash", "stats"]
    assert [la.num_ctas for la in launches[::5]] == [32 * 8, 32 * 8, 8]


@pytest.mark.parametrize(("head_dim", "group", "kv_len"), [(64, 4, 8192), (128, 8, 8192)])
def test_other_shapes_score_on_tensor_cores_with_sixteen_padded_rows(
    head_dim: int, group: int, kv_len: int
) -> None:
    pass1 = _prop(_llama(kv_len, head_dim=head_dim, kv_heads=32 // group))[0]
    assert (pass1.name, pass1.threads, pass1.smem_bytes) == ("pass1_wmma", 512, 27264)
    assert pass1.issued_flop == 2 * 16 * kv_len * head_dim * (32 // group)


def test_flash_traffic_at_32k_is_that_of_the_formulas() -> None:
    fused, finalize = _flash(_llama(), logit_sigma=0.0)
    assert _operand(fused, "k").requested_bytes / MB == pytest.approx(67.11, abs=0.005)
    assert _operand(fused, "out_tiles").unique_bytes / MB == pytest.approx(2.10, abs=0.005)
    assert _operand(fused, "stats").unique_bytes == 2 * 32 * 128 * 4
    assert _operand(fused, "q").requested_bytes == 128 * 32 * 256
    v = _operand(fused, "v")
    assert v.unique_bytes == pytest.approx(1024 * 256 * 256 * (1 - (1 - 16 / 256) ** 4))
    assert v.requested_bytes == 1024 * 4 * 16 * 256
    assert finalize.requested_bytes == 32 * (128 * (512 + 12) + 256 + 4)


def test_prop_traffic_at_32k_is_that_of_the_formulas() -> None:
    pass1, budgets, fill, pass2, cast = _prop(_llama(), logit_sigma=0.0)
    keys = 32 * KI
    assert _operand(pass1, "k").requested_bytes / MB == pytest.approx(67.11, abs=0.005)
    assert _operand(pass1, "stash").unique_bytes / MB == pytest.approx(2.10, abs=0.005)
    assert _operand(budgets, "stats").requested_bytes == 3 * 32 * 128 * 4
    assert _operand(budgets, "budgets").unique_bytes == 3 * 32 * 128 * 4
    assert _operand(fill, "accumulator").unique_bytes == 32 * 128 * 4
    # Two useful bytes in a sector of 32: every group of heads reads every row's sector.
    assert _operand(pass2, "stash").requested_bytes == 8 * keys * 32
    assert _operand(pass2, "stash").unique_bytes == 32 * keys * 2
    assert _operand(pass2, "v").requested_bytes == 32 * 128 * 256
    assert _operand(pass2, "accumulator").requested_bytes == 1024 * 4 * 128 * 4
    assert cast.requested_bytes == 32 * 128 * (4 + 2)


@pytest.mark.parametrize("sigma", [0.0, 2.0, 4.0])
def test_value_bytes_stay_below_the_published_bounds(sigma: float) -> None:
    """At most group·S/n of V: 25% for 2048 samples, 1.5625% for 128."""
    v_bytes = 32 * KI * 8 * 256
    fused, _ = _flash(_llama(), logit_sigma=sigma)
    pass2 = _prop(_llama(), logit_sigma=sigma)[3]
    for launch, most in ((fused, 0.25), (pass2, 0.015625)):
        v = _operand(launch, "v")
        assert v.requested_bytes / 4 <= v.unique_bytes <= most * v_bytes
        assert v.unique_bytes <= v.requested_bytes


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("schedule", SAMPLED)
def test_hbm_carries_the_keys_once_and_the_sampled_values(schedule: str, batch: int) -> None:
    """K is not sampled; what passes between launches stays in Ada's L2, or nearly all of it.

    With three sequences, the last of the range of distances reach the ramp.
    """
    gpu = load_gpu(ADA)
    launches = build_launches(schedule, _llama(batch=batch), gpu, {})
    placed = place(launches, gpu, load="steady", warm=False)
    keys = batch * 32 * KI * 8 * 256
    values = sum(o.unique_bytes for la in launches for o in la.reads if o.name[0] == "v")
    read = sum(p.traffic.hbm_read_bytes for p in placed)
    assert read == pytest.approx(
        keys + values + batch * 32 * 256, rel=1e-6 if batch == 1 else 0.015
    )


@pytest.mark.parametrize(
    ("gpu_name", "mhz", "low", "high"),
    [(ADA, 2500, 16.5, 16.7), (A100, 1410, 37.5, 38.5), (H100, 1980, 24, 25), (H100, 1750, 27, 28)],
)
def test_issue_bounds_of_the_score_stage(gpu_name: str, mhz: int, low: float, high: float) -> None:
    """88, 90 or 97 warp instructions a K row and KV head, four a clock and SM."""
    gpu = contracts.changed(load_gpu(gpu_name), "clock", steady_mhz=float(mhz))
    fused, _ = place(_flash(_llama(), gpu_name), gpu, load="steady", warm=False)
    assert low <= pipe_bound(fused, gpu, Pipe.ISSUE) <= high
    rows = 32 * KI * 8
    assert fused.launch.amount(Pipe.SHUFFLE) / 32 == 20 * rows + 7 * (4 + 1) * 8 * 1024
    assert fused.launch.amount(Pipe.EXP2) == 32 * 32 * KI


def test_a_warp_waits_for_each_of_its_rows_in_turn() -> None:
    """256 / 8 K rows, then 16 value rows, and nothing fetched ahead."""
    fused, _ = _flash(_llama(), logit_sigma=0.0)
    assert (fused.step.loads, fused.step.stages) == (32 + 16, 1)
    pass2 = _prop(_llama(), logit_sigma=0.0)[3]
    assert (pass2.step.loads, pass2.step.stages) == (1 + 256 // 32 + 1, 1)


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("santa_flash", {"head_dim": 64}, "attention.head_dim: expected 128, found 64"),
    ("santa_flash", {"kv_heads": 4}, "attention.kv_heads: expected 4 query heads each, found 8"),
    ("santa_prop", {"kv_heads": 2}, "attention.kv_heads: expected at most 8 query heads each"),
    ("santa_prop", {"head_dim": 72}, "attention.head_dim: expected a multiple of 16, found 72"),
    ("santa_flash", {"window": 64}, "attention.window: expected none, found 64"),
    ("santa_prop", {"page_size": 16}, "attention.page_size: expected none"),
    ("santa_prop", {"kv_dtype": "fp8"}, "attention.kv_dtype: expected dtype (bf16), found fp8"),
    ("santa_flash", {"dtype": "fp8"}, "attention.dtype: expected fp16 or bf16, found fp8"),
    ("santa_flash", {"v_head_dim": 64}, "attention.v_head_dim: expected head_dim (128), found 64"),
    ("santa_prop", {"batch": MAX_BATCH + 1}, "sequences: expected at most 256 in all, found 257"),
    ("santa_flash", {"kv_len": 2**22}, "sequences[0].kv_len: expected at most"),
    ("santa_prop", {"kv_len": 2**21}, "kv_len: expected at most"),
]


@pytest.mark.parametrize(("schedule", "change", "message"), REFUSED)
def test_what_the_release_cannot_do_is_refused(
    schedule: str, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError) as error:
        build_launches(schedule, _llama(**change), load_gpu(ADA), {})
    assert message in str(error.value)


@pytest.mark.parametrize("schedule", SAMPLED)
def test_prefill_is_refused(schedule: str) -> None:
    sequences = (Sequence(q_len=1, kv_len=64), Sequence(q_len=2, kv_len=64))
    attention = _llama().model_copy(update={"sequences": sequences})
    with pytest.raises(SpecError, match=r"sequences\[1\].q_len: expected 1 .*, found 2"):
        build_launches(schedule, attention, load_gpu(ADA), {})


def test_a_ragged_batch_is_refused_by_the_flash_kernel() -> None:
    sequences = (Sequence(q_len=1, kv_len=64), Sequence(q_len=1, kv_len=65))
    attention = _llama().model_copy(update={"sequences": sequences})
    with pytest.raises(SpecError, match=r"sequences\[1\].kv_len: expected one length"):
        _flash(attention)


@st.composite
def decodes(draw: st.DrawFn, schedule: str, *, uniform: bool = False) -> tuple[Attention, Gpu]:
    """A problem that the schedule takes; `uniform`: no short last tile, no short last CTA."""
    flash, own = schedule == "santa_flash", schedule in OWN
    lengths = st.integers(13, 64).map(lambda n: 256 * n) if uniform else st.integers(1, 9000)
    kv_len = draw(lengths)
    sequences = tuple(
        Sequence(
            count=draw(st.integers(1, 3)),
            q_len=1,
            kv_len=kv_len if flash or own or uniform else draw(lengths),
        )
        for _ in range(draw(st.integers(1, 2)))
    )
    kv_heads = draw(st.sampled_from((1, 2, 8)))
    attention = Attention(
        q_heads=kv_heads * (4 if flash else draw(st.sampled_from((1, 4, 8)))),
        kv_heads=kv_heads,
        head_dim=128 if flash else draw(st.sampled_from((64, 128) if own else (64, 80, 128, 256))),
        dtype=draw(st.sampled_from(("fp16", "bf16"))),
        causal=draw(st.booleans()),
        sequences=sequences,
    )
    return attention, load_gpu(draw(st.sampled_from(tuple(shipped("hardware")))))


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "samples": st.sampled_from((1, 100, 128, 2048, 2**20)),
        "logit_sigma": st.sampled_from((0.0, 1.0, 2.0, 4.0, 20.0)),
    },
)
often = settings(
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=40,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.mark.parametrize("schedule", [*SAMPLED, *OWN])
def test_the_contracts_hold_for_every_decode(schedule: str) -> None:
    """As in `test_contracts`, for the problems that these schedules take."""

    @often
    @given(decodes(schedule), OPTIONS, st.sampled_from(("cold", "warm")))
    def check(problem: tuple[Attention, Gpu], options: dict[str, Any], l2: str) -> None:
        args = (*problem, schedule, {} if schedule in OWN else options)
        contracts.every_allowed_pair_is_covered_once(*args)
        contracts.useful_flop_is_the_dense_count_and_no_more_than_issued(*args)
        contracts.operands_ask_for_the_bytes_of_the_work_table(*args)
        contracts.hbm_carries_at_least_the_compulsory_bytes(*args)
        contracts.merging_equal_items_changes_little(*args, l2=l2)
        for engine in ("sim", "analytic"):
            contracts.no_launch_beats_a_bound(*args, engine=engine, l2=l2)
            contracts.shares_are_shares_and_reruns_are_identical(*args, engine=engine, l2=l2)
            contracts.a_faster_gpu_is_never_slower(*args, engine=engine, l2=l2)

    check()


@pytest.mark.parametrize("schedule", [*SAMPLED, *OWN])
def test_the_contracts_of_equal_items_hold(schedule: str) -> None:
    @often
    @given(decodes(schedule, uniform=True), st.sampled_from(("cold", "warm")))
    def check(problem: tuple[Attention, Gpu], l2: str) -> None:
        contracts.engines_agree_on_uniform_work(*problem, schedule, {}, l2=l2)
        for engine in ("sim", "analytic"):
            contracts.more_sms_are_never_slower_on_uniform_work(
                *problem, schedule, {}, engine=engine
            )

    check()


def _gain(schedule: str, l2: str, **options: Any) -> tuple[float, Result]:
    dense = simulate(_llama(), ADA, "flash2_split_kv", l2=l2)
    sampled = simulate(_llama(), ADA, schedule, l2=l2, **options)
    return dense.time_us / sampled.time_us, sampled


@pytest.mark.parametrize(("schedule", "samples"), [("santa_flash", 2048), ("santa_prop", 128)])
def test_sampling_gains_on_ada_about_what_the_paper_found(schedule: str, samples: int) -> None:
    """Reported at 32k and batch 1: 1.51 for flash and 1.50 for prop, both over flash-decoding.

    Nothing here is tuned to it. The model gains more, up to 1.7: it launches in a CUDA graph and
    leaves out the latency of scans and of the budgets' sort; whether the paper's L2 was cold is
    not known. All of K and little of V is read, so no gain reaches 2.
    """
    gain, result = _gain(schedule, "cold", samples=samples)
    assert 1.4 <= gain <= 1.8
    assert result.bound == "hbm"


def test_a_replay_that_keeps_the_keys_in_l2_flatters_sampling() -> None:
    """K (67 MB) and what is read of V fit in Ada's 96 MiB, K and V (134 MB) do not.

    With L2 cold all of K crosses HBM, so that no gain reaches 2.
    """
    for schedule in SAMPLED:
        gain, result = _gain(schedule, "warm")
        assert gain > 2
        assert result.hbm_bytes < 0.01 * result.compulsory_bytes


def test_sampling_cannot_gain_where_issue_of_scores_is_the_bound() -> None:
    """On H100 the scores on CUDA cores take longer than their bytes."""
    for schedule in SAMPLED:
        result = simulate(_llama(), H100, schedule)
        assert result.launches[0].bound == "issue"


@pytest.mark.parametrize("schedule", SAMPLED)
def test_more_samples_never_cost_less(schedule: str) -> None:
    times = [simulate(_llama(), ADA, schedule, samples=s).time_us for s in (128, 2048, 16384)]
    assert times == sorted(times)
