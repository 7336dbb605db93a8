"""Waves, tails and accounts: where both engines have an answer in closed form, they meet it."""

import math

import contracts
import pytest

from gpusim.analytic.engine import predict_launches
from gpusim.errors import SpecError
from gpusim.launch_result import LaunchResult
from gpusim.machine.place import place
from gpusim.machine.placed import Placed
from gpusim.result import Result
from gpusim.schedules.catalogue import SCHEDULES, build_launches
from gpusim.schedules.launch import Launch
from gpusim.sim.engine import simulate_launches
from gpusim.spec.attention import Attention, Sequence
from gpusim.spec.gpu import Gpu
from gpusim.spec.load import load_gpu

#: Memory fast enough never to hold anybody back.
A100 = contracts.with_memory(load_gpu("a100_sxm_80gb"), 1e6)
SMS, SLOTS = 108, 216


def _tiles(ctas: int, kv_len: int = 1024) -> tuple[Attention, tuple[Launch, ...]]:
    """A launch of so many equal CTAs."""
    sequences = (Sequence(count=ctas, q_len=128, kv_len=kv_len),)
    attention = Attention(q_heads=1, kv_heads=1, head_dim=128, causal=False, sequences=sequences)
    return attention, build_launches("flash2", attention, A100, {})


def _ragged(lengths: list[int]) -> tuple[Attention, tuple[Launch, ...]]:
    """A launch of one CTA per KV length."""
    sequences = tuple(Sequence(q_len=128, kv_len=n) for n in lengths)
    attention = Attention(q_heads=1, kv_heads=1, head_dim=128, causal=False, sequences=sequences)
    return attention, build_launches("flash2", attention, A100, {})


def _placed(launches: tuple[Launch, ...], gpu: Gpu = A100) -> Placed:
    return place(launches, gpu, load="steady", warm=False)[0]


def _timed(work: tuple[Attention, tuple[Launch, ...]], engine: str) -> LaunchResult:
    return contracts.run(work[0], A100, work[1], engine, "cold").launches[0]


@pytest.mark.parametrize("engine", ["sim", "analytic"])
@pytest.mark.parametrize("ctas", [1, 50, 108, 109, 216, 217, 266, 324, 325, 432, 500, 1000])
def test_equal_items_run_in_waves_and_a_tail_spread_over_the_sms(engine: str, ctas: int) -> None:
    """T = ramp + full waves·(latency + u/rate(2)) + latency + u/rate(CTAs on the fullest SM)."""
    work = _tiles(ctas)
    placed = _placed(work[1])
    units = float(placed.units[0])
    full, rest = divmod(ctas, SLOTS)
    expected = placed.ramp_us + full * (placed.latency_us + units / placed.rate(2))
    if rest:
        expected += placed.latency_us + units / placed.rate(math.ceil(rest / SMS))
    timed = _timed(work, engine)
    assert timed.time_us == pytest.approx(expected, rel=1e-9)
    assert timed.waves == ctas / SLOTS


@pytest.mark.parametrize("ctas", [1, 40, 108, 150, 216])
def test_unequal_items_of_one_wave_take_what_the_formula_says(ctas: int) -> None:
    work = _ragged([64 + 64 * (i * 37 % 61) for i in range(ctas)])
    assert _timed(work, "sim").time_us == pytest.approx(_timed(work, "analytic").time_us, rel=1e-9)


def test_a_short_cta_beside_a_long_one_speeds_it_up_when_it_leaves() -> None:
    """Two CTAs of u1 < u2 on one SM: both at rate(2) until u1 is done, then the rest at rate(1)."""
    lengths = [4096] + [64] * (SMS - 1) + [1024]
    work = _ragged(lengths)
    placed = _placed(work[1])
    long, short = float(placed.units[0]), float(placed.units[-1])
    loops = short / placed.rate(2) + (long - short) / placed.rate(1)
    expected = placed.ramp_us + placed.latency_us + loops
    assert _timed(work, "sim").time_us == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("engine", ["sim", "analytic"])
def test_more_work_never_takes_less_time(engine: str) -> None:
    by_count = [_timed(_tiles(n), engine).time_us for n in range(1, 700, 23)]
    by_length = [_timed(_tiles(300, kv_len=n), engine).time_us for n in range(64, 4096, 320)]
    assert by_count == sorted(by_count)
    assert by_length == sorted(by_length)


def test_many_merged_items_take_the_time_of_single_ones() -> None:
    attention, launches = _tiles(20_000)
    contracts.merging_equal_items_changes_little(attention, A100, "flash2", {}, l2="cold")
    assert launches[0].work.num_items == 20_000


def test_a_trace_holds_every_cta_once_on_a_slot_of_its_own() -> None:
    attention, launches = _tiles(500)
    result = _traced(attention, launches)
    assert sorted(span.item for span in result.spans) == list(range(500))
    assert all(span.start_us <= span.loop_us <= span.end_us for span in result.spans)
    slots: dict[tuple[int, int], float] = {}
    for span in result.spans:
        assert span.start_us >= slots.get((span.sm, span.slot), 0.0)
        slots[span.sm, span.slot] = span.end_us
    assert set(slots) == {(sm, slot) for sm in range(SMS) for slot in range(2)}
    assert max(slots.values()) == pytest.approx(result.time_us)


def test_ctas_are_placed_breadth_first_in_every_wave() -> None:
    spans = sorted(_traced(*_tiles(SLOTS + 150)).spans, key=lambda span: span.item)
    sms = [span.sm for span in spans]
    assert sms[:SLOTS] == [*range(SMS), *range(SMS)]
    assert sms[SLOTS:] == [*range(SMS), *range(150 - SMS)]


def _traced(attention: Attention, launches: tuple[Launch, ...]) -> Result:
    names = ("tiles", "flash2")
    return simulate_launches(attention, A100, launches, names=names, trace=True)


@pytest.mark.parametrize("engine", ["sim", "analytic"])
def test_a_full_wave_occupies_every_slot_all_the_time(engine: str) -> None:
    timed = _timed(_tiles(2 * SLOTS), engine)
    assert timed.occupancy_fraction == 2 * 4 / 64
    assert timed.achieved_fraction == pytest.approx(timed.occupancy_fraction)
    assert timed.sm_busy_fraction == pytest.approx(1)
    assert timed.breakdown.get("tail", 0) == pytest.approx(0, abs=1e-9)
    assert "unfilled" not in timed.breakdown


@pytest.mark.parametrize("engine", ["sim", "analytic"])
def test_slots_that_never_get_a_cta_are_unfilled_and_late_ones_are_tail(engine: str) -> None:
    few = _timed(_tiles(54), engine)
    assert few.breakdown["unfilled"] == pytest.approx(0.75)
    assert few.sm_busy_fraction == pytest.approx(0.5)
    late = _timed(_tiles(SLOTS + 1), engine)
    assert "unfilled" not in late.breakdown
    assert late.breakdown["tail"] > 0.3


@pytest.mark.parametrize("engine", ["sim", "analytic"])
def test_a_call_is_its_launches_and_the_gap_before_each(engine: str) -> None:
    gpu = load_gpu("h100_sxm")
    sequences = (Sequence(q_len=1, kv_len=8192),)
    attention = Attention(q_heads=32, kv_heads=8, head_dim=128, sequences=sequences)
    launches = build_launches("flash2_split_kv", attention, gpu, {})
    result = contracts.run(attention, gpu, launches, engine, "cold")
    gaps = 2 * gpu.launch.graph_us
    assert [launch.name for launch in result.launches] == ["flash_fwd_splitkv", "combine"]
    assert result.time_us == pytest.approx(sum(x.time_us for x in result.launches) + gaps)
    assert result.breakdown["launch"] == pytest.approx(gaps / result.time_us)
    energy = 1e-6 * gpu.power.idle_w * result.time_us + 1e-12 * (
        gpu.power.hbm_pj_per_byte * result.hbm_bytes
        + gpu.power.tensor_pj_per_flop * sum(x.issued_flop for x in result.launches)
    )
    assert result.energy_j == pytest.approx(energy)


@pytest.mark.parametrize("engine", ["sim", "analytic"])
def test_the_clock_drops_when_load_outlasts_the_power_limiter(engine: str) -> None:
    gpu = load_gpu("h100_sxm")
    attention, launches = _tiles(1000)
    predict = predict_launches if engine == "analytic" else simulate_launches
    names, delay = ("tiles", "flash2"), gpu.clock.power_limit_delay_s
    times = {
        load: predict(attention, gpu, launches, names=names, load=load).time_us
        for load in ("benchmark", "steady", delay / 2, delay * 2)
    }
    assert times["benchmark"] == times[delay / 2] < times["steady"] == times[delay * 2]


CALLS = {
    "one sequence of 128k": (1, 1, 131072),
    "a few of 8k": (7, 1, 8192),
    "many of 1k": (61, 1, 1024),
    "prompts": (3, 512, 512),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("gpu_name", ["a100_sxm_80gb", "h100_sxm", "rtx_6000_ada"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_engines_tell_where_the_time_of_equal_work_goes_alike(
    schedule: str, gpu_name: str, call: tuple[int, int, int]
) -> None:
    """Every cause within 0.1 of the slots' time, fix-ups and tails of workers included.

    Items are taken one by one: merged ones drift apart, which overlaps starts with other loops.
    """
    gpu, (count, q_len, kv_len) = load_gpu(gpu_name), call
    sequences = (Sequence(count=count, q_len=q_len, kv_len=kv_len),)
    attention = Attention(q_heads=32, kv_heads=8, head_dim=128, causal=False, sequences=sequences)
    try:
        launches = build_launches(schedule, attention, gpu, {})
    except SpecError as error:
        pytest.skip(str(error))
    if not contracts.is_uniform(launches) and schedule != "lean":
        pytest.skip("its items are not equal")
    names = ("call", schedule)
    simulated = simulate_launches(attention, gpu, launches, names=names, merge=False)
    predicted = predict_launches(attention, gpu, launches, names=names)
    for cause in simulated.breakdown.keys() | predicted.breakdown.keys():
        shares = [result.breakdown.get(cause, 0.0) for result in (simulated, predicted)]
        assert shares[0] == pytest.approx(shares[1], abs=0.1), cause


@pytest.mark.parametrize("engine", ["sim", "analytic"])
def test_waits_and_merges_are_not_taken_for_starts(engine: str) -> None:
    """One output over all workers: after the last loop, the first worker merges all others'."""
    attention = Attention(
        q_heads=1, kv_heads=1, head_dim=128, sequences=(Sequence(q_len=1, kv_len=32768),)
    )
    launches = build_launches("lean", attention, A100, {})
    placed = _placed(launches)
    assert launches[0].work.peers is not None
    merging = float(launches[0].work.peers.max()) * placed.merge_us
    (timed,) = contracts.run(attention, A100, launches, engine, "cold").launches
    assert timed.limited_us["fix_up"] == pytest.approx(merging, rel=0.01)
    assert timed.limited_us["cta_latency"] == pytest.approx(placed.latency_us, rel=0.01)
    assert timed.breakdown["fix_up"] > 0


@pytest.mark.parametrize("engine", ["sim", "analytic"])
def test_every_wave_starts_with_a_latency_that_holds_all_back(engine: str) -> None:
    work = _tiles(3 * SLOTS)
    timed = _timed(work, engine)
    latency = 3 * _placed(work[1]).latency_us
    assert timed.limited_us["cta_latency"] == pytest.approx(latency)
    assert sum(timed.limited_us.values()) == pytest.approx(timed.time_us)
