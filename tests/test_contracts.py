"""All schedules and both engines against `contracts`, on random problems and shipped workloads."""

from functools import partial
from typing import Any

import contracts
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from gpusim.errors import SpecError
from gpusim.result import Result
from gpusim.schedules.catalogue import SCHEDULES, build_launches
from gpusim.schedules.implementations import IMPLEMENTATIONS
from gpusim.spec.attention import Attention, Sequence
from gpusim.spec.gpu import Gpu
from gpusim.spec.load import load_gpu, load_workload, shipped
from gpusim.spec.yaml_file import read_mapping
from gpusim.study.simulate import simulate

GPUS = tuple(shipped("hardware"))
ENGINES = ("sim", "analytic")
COUNTED = (
    contracts.every_allowed_pair_is_covered_once,
    contracts.useful_flop_is_the_dense_count_and_no_more_than_issued,
    contracts.operands_ask_for_the_bytes_of_the_work_table,
    contracts.hbm_carries_at_least_the_compulsory_bytes,
)

deterministic = partial(
    settings,
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),  # shrinking simulations takes minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
#: Sampled schedules take few of the problems drawn here; `test_santa` draws for them.
EXACT = tuple(name for name, schedule in SCHEDULES.items() if schedule.exact)
SHIPPED = tuple(name for name, shipped in IMPLEMENTATIONS.items() if shipped.exact)
every_name = pytest.mark.parametrize("schedule", [*EXACT, *SHIPPED])
every_schedule = pytest.mark.parametrize("schedule", EXACT)
every_engine = pytest.mark.parametrize("engine", ENGINES)


@st.composite
def problems(draw: st.DrawFn, *, uniform: bool = False) -> tuple[Attention, Gpu]:
    """An attention problem of bounded size, and a GPU that has its data types."""
    gpu = load_gpu(draw(st.sampled_from(GPUS)))
    kv_heads = draw(st.sampled_from((1, 2, 8)))
    group = draw(st.sampled_from((1, 4, 8)))
    causal = draw(st.booleans())
    window = draw(st.none() | st.integers(1, 600))
    lengths = st.sampled_from((1, 2, 64, 128)) if uniform else st.integers(1, 300)
    count = 1 if uniform else draw(st.integers(1, 3))
    has_fp8 = "fp8" in gpu.tensor.mma_sync_flop_per_clock
    sequences = []
    for _ in range(count):
        q_len = draw(st.just(1) | lengths)
        kv_len = draw(st.integers(q_len if causal else 1, 4096))
        if uniform:
            kv_len = -(-kv_len // 128) * 128
        sequences.append(Sequence(count=draw(st.integers(1, 5)), q_len=q_len, kv_len=kv_len))
    attention = Attention(
        q_heads=kv_heads * group,
        kv_heads=kv_heads,
        head_dim=draw(st.sampled_from((64, 80, 128, 256))),
        dtype=draw(st.sampled_from(("fp16", "bf16"))),
        kv_dtype="fp8" if has_fp8 and draw(st.booleans()) else None,
        causal=causal,
        window=window,
        page_size=draw(st.sampled_from((None, 16, 256))),
        sequences=tuple(sequences),
    )
    return attention, gpu


L2 = st.sampled_from(("cold", "warm"))


def _takes(
    attention: Attention, gpu: Gpu, schedule: str, options: dict[str, Any] | None = None
) -> bool:
    try:
        return bool(build_launches(schedule, attention, gpu, options or {}))
    except SpecError:
        return False


@every_name
@pytest.mark.parametrize("contract", COUNTED, ids=lambda contract: contract.__name__)
def test_what_a_schedule_counts_keeps_the_contract(contract: Any, schedule: str) -> None:
    @deterministic(max_examples=60)
    @given(problems())
    def check(problem: tuple[Attention, Gpu]) -> None:
        assume(_takes(*problem, schedule))
        contract(*problem, schedule, {})

    check()


@every_name
@every_engine
@deterministic(max_examples=60)
@given(problem=problems(), l2=L2)
def test_no_engine_beats_a_bound(
    engine: str, schedule: str, problem: tuple[Attention, Gpu], l2: str
) -> None:
    assume(_takes(*problem, schedule))
    contracts.no_launch_beats_a_bound(*problem, schedule, {}, engine=engine, l2=l2)


@every_schedule
@every_engine
@deterministic(max_examples=60)
@given(problem=problems(), l2=L2)
def test_results_add_up_and_repeat(
    engine: str, schedule: str, problem: tuple[Attention, Gpu], l2: str
) -> None:
    assume(_takes(*problem, schedule))
    contracts.shares_are_shares_and_reruns_are_identical(
        *problem, schedule, {}, engine=engine, l2=l2
    )


@every_schedule
@every_engine
@deterministic(max_examples=60)
@given(problem=problems(), l2=L2)
def test_more_bandwidth_or_clock_never_costs_time(
    engine: str, schedule: str, problem: tuple[Attention, Gpu], l2: str
) -> None:
    assume(_takes(*problem, schedule))
    contracts.a_faster_gpu_is_never_slower(*problem, schedule, {}, engine=engine, l2=l2)


@every_schedule
@deterministic(max_examples=60)
@given(problem=problems(), l2=L2)
def test_merged_items_take_the_time_of_single_ones(
    schedule: str, problem: tuple[Attention, Gpu], l2: str
) -> None:
    assume(_takes(*problem, schedule))
    contracts.merging_equal_items_changes_little(*problem, schedule, {}, l2=l2)


@every_schedule
@deterministic(max_examples=60)
@given(problem=problems(uniform=True), l2=L2)
def test_engines_agree_on_equal_items(
    schedule: str, problem: tuple[Attention, Gpu], l2: str
) -> None:
    attention, gpu = problem
    assume(_takes(attention, gpu, schedule))
    assume(contracts.is_uniform(build_launches(schedule, attention, gpu, {})))
    contracts.engines_agree_on_uniform_work(attention, gpu, schedule, {}, l2=l2)


@every_schedule
@every_engine
@deterministic(max_examples=60)
@given(problem=problems(uniform=True))
def test_more_sms_never_cost_time_on_equal_items(
    engine: str, schedule: str, problem: tuple[Attention, Gpu]
) -> None:
    attention, gpu = problem
    assume(_takes(attention, gpu, schedule))
    assume(contracts.is_uniform(build_launches(schedule, attention, gpu, {})))
    contracts.more_sms_are_never_slower_on_uniform_work(attention, gpu, schedule, {}, engine=engine)


def _run_shipped(
    name: str, gpu: Gpu, schedule: str, options: dict[str, Any], engine: str
) -> Result:
    workload = load_workload(name)
    return simulate(
        workload.attention,
        gpu,
        schedule,
        engine,
        l2=workload.l2,
        load=workload.load,
        workload=workload.name,
        **options,
    )


def _of_attention() -> list[str]:
    """Shipped workloads of attention; those of a model are held to theirs in test_forward_pass."""
    return [
        name for name, path in shipped("workloads").items() if "attention" in read_mapping(path)
    ]


@pytest.mark.parametrize("gpu_name", GPUS)
@pytest.mark.parametrize("name", _of_attention())
def test_a_shipped_workload_keeps_the_cheap_contracts_on_every_gpu(
    name: str, gpu_name: str
) -> None:
    gpu, workload = load_gpu(gpu_name), load_workload(name)
    named = [(c.name, c.options) for c in workload.schedules] or [(s, {}) for s in EXACT]
    taken = 0
    for schedule, options in named:
        if not _takes(workload.attention, gpu, schedule, options):
            continue
        taken += 1
        args = (workload.attention, gpu, schedule, options)
        contracts.operands_ask_for_the_bytes_of_the_work_table(*args)
        contracts.hbm_carries_at_least_the_compulsory_bytes(*args)
        for engine in ENGINES:
            result = _run_shipped(name, gpu, schedule, options, engine)
            assert sum(result.breakdown.values()) == pytest.approx(1, abs=1e-9)
            issued = sum(x.issued_flop for x in result.launches)
            assert issued >= result.useful_flop or not SCHEDULES[schedule].exact
    # An FP8 cache needs a GPU with FP8; no other shipped workload is refused anywhere.
    has_fp8 = "fp8" in gpu.tensor.mma_sync_flop_per_clock
    assert taken == (len(named) if has_fp8 or workload.attention.cache_dtype != "fp8" else 0)
