"""What every schedule must hold to, in both engines, whatever the problem and the GPU.

Each contract takes (attention, gpu, schedule, options), builds the launches and asserts one
property. A schedule is held to all of them by being listed in `SCHEDULES`.
"""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gpusim.analytic.bounds import bounds
from gpusim.analytic.engine import predict_launches
from gpusim.machine.place import place
from gpusim.result import Result
from gpusim.schedules.catalogue import build_launches, is_exact, problem_of
from gpusim.schedules.columns import Ints
from gpusim.schedules.launch import Launches
from gpusim.schedules.mask import compulsory_bytes, kv_bytes, useful_flop
from gpusim.schedules.step import Pipe
from gpusim.schedules.work import Work
from gpusim.sim.engine import simulate_launches
from gpusim.spec.attention import Attention, Sequence
from gpusim.spec.gpu import Gpu

Options = dict[str, Any]

#: Float sums of the same terms in another order: nothing that a model could be blamed for.
ROUNDING = 1e-9
#: What a faster GPU may lose in `sim` when items are unequal (greatest of 2,300 problems: 0.007).
PAIRING = 0.01
#: How far `sim` and `analytic` may be apart on uniform work.
AGREEMENT = 0.15
#: How far merging equal items may move `sim`: merged slots drift apart, so start latencies of one
#: overlap memory time of another, where equal items taken one by one stay in lockstep.
MERGING = 0.02


def run(attention: Attention, gpu: Gpu, launches: Launches, engine: str, l2: str) -> Result:
    """One engine's result for launches at hand."""
    predict = simulate_launches if engine == "sim" else predict_launches
    return predict(attention, gpu, launches, names=("contract", "schedule"), l2=l2)


def dense_mask(attention: Attention, seq: Sequence) -> NDArray[np.bool_]:
    """Which keys each query sees, pair by pair, straight from the definition of the masks."""
    position = np.arange(seq.q_len)[:, None] + seq.kv_len - seq.q_len
    key = np.arange(seq.kv_len)[None, :]
    seen = np.ones((seq.q_len, seq.kv_len), dtype=bool)
    if attention.causal:
        seen &= key <= position
    if attention.window is not None:
        seen &= np.abs(position - key) < attention.window
    return seen


def every_allowed_pair_is_covered_once(
    attention: Attention, gpu: Gpu, schedule: str, options: Options
) -> None:
    """Matrix launches walk each (query row, key) pair that the mask allows once, and none twice.

    The unfused `standard` skips nothing under a mask and cuts PV by output columns too, so its QKᵀ
    is held to the area of the whole rectangle. A sampled schedule computes every score once,
    sequence by sequence.
    """
    launches = build_launches(schedule, attention, gpu, options)
    if not is_exact(schedule):
        _every_score_is_computed_once(attention, launches)
        return
    if schedule == "standard":
        tiles = launches[0].work.tiles
        area = launches[0].work.total(tiles.q_rows * (tiles.kv_stop - tiles.kv_start))
        pairs = sum(s.count * s.q_len * s.kv_len for s in attention.sequences)
        assert area == pairs * attention.q_heads
        return
    matrix = [la for la in launches if np.any(la.work.tiles.kv_stop > la.work.tiles.kv_start)]
    for i, seq in enumerate(attention.sequences):
        seen = np.repeat(dense_mask(attention, seq), matrix[0].work.packed, axis=0)
        streams = [_streams(launch.work, attention, i) for launch in matrix]
        for n in range(max(map(len, streams))):
            parts = zip(matrix, streams, strict=True)
            covered = sum(
                _coverage(launch.work, rows[n % len(rows)], seq) for launch, rows in parts
            )
            assert np.all(np.asarray(covered)[seen] == 1)
            assert np.max(covered) <= 1


def _every_score_is_computed_once(attention: Attention, launches: Launches) -> None:
    singles = [s for s in attention.sequences for _ in range(s.count)]
    tables = []
    for launch in launches:
        if np.array_equal(launch.work.tiles.kv_start, launch.work.tiles.kv_stop):
            continue
        work = launch.work
        assert work.heads * work.packed == attention.q_heads
        ends = zip(work.group_first, work.group_rows, work.copies, strict=True)
        rows = [(np.arange(f, f + n), int(copies)) for f, n, copies in ends]
        tables += [(work, r) for r, copies in rows for _ in range(copies)]
    for (work, r), seq in zip(tables, singles, strict=True):
        seen = np.repeat(dense_mask(attention, seq), work.packed, axis=0)
        assert np.array_equal(_coverage(work, r, seq), seen)


def _streams(work: Work, attention: Attention, entry: int) -> list[Ints]:
    """Rows of each copy and head (or packed group) of a sequence; one list if all do the same."""
    count, heads = attention.sequences[entry].count, attention.q_heads // work.packed
    if work.stream is None:
        assert work.copies[entry] == count
        assert work.heads == heads
        first = int(work.group_first[entry])
        return [np.arange(first, first + int(work.group_rows[entry]))]
    assert 0 <= work.stream.min() <= work.stream.max() < attention.batch * heads
    first = sum(s.count for s in attention.sequences[:entry]) * heads
    return [work.order()[work.stream == n] for n in range(first, first + count * heads)]


def _coverage(work: Work, rows: Ints, seq: Sequence) -> NDArray[np.int8]:
    """How often each (query row, key) pair of a sequence is walked by these rows of the table."""
    counts = np.zeros((seq.q_len * work.packed, seq.kv_len), dtype=np.int8)
    for row in rows:
        counts[work.query_rows(row), work.tiles.kv_start[row] : work.tiles.kv_stop[row]] += 1
    return counts


def useful_flop_is_the_dense_count_and_no_more_than_issued(
    attention: Attention, gpu: Gpu, schedule: str, options: Options
) -> None:
    """Useful FLOP by closed form = by counting the mask; padding and masked tiles only add.

    A sampled schedule leaves out part of PV, and may do QKᵀ on FP32 pipes, where a result counts as
    an FMA.
    """
    width = 2 * (attention.head_dim + attention.value_dim) * attention.q_heads
    counted = sum(
        width * s.count * int(dense_mask(attention, s).sum()) for s in attention.sequences
    )
    assert useful_flop(attention) == counted
    launches = build_launches(schedule, attention, gpu, options)
    # Where no tensor core multiplies, CUDA cores do, a multiply-add a result.
    issued = sum(la.issued_flop or 2 * la.amount(Pipe.FP32) for la in launches)
    if is_exact(schedule):
        assert issued >= counted
    else:
        assert issued >= counted * attention.head_dim / (attention.head_dim + attention.value_dim)


def operands_ask_for_the_bytes_of_the_work_table(
    attention: Attention, gpu: Gpu, schedule: str, options: Options
) -> None:
    """Loop, load and store bytes of the items = bytes that the operands ask for."""
    for launch in build_launches(schedule, attention, gpu, options):
        tiles, total = launch.work.tiles, launch.work.total
        read = sum(operand.requested_bytes for operand in launch.reads)
        written = sum(operand.requested_bytes for operand in launch.writes)
        assert total(tiles.loop_bytes) + total(tiles.load_bytes) == pytest.approx(read, rel=1e-12)
        assert total(tiles.store_bytes) == pytest.approx(written, rel=1e-12)
        for operand in (*launch.reads, *launch.writes):
            assert 0 < operand.unique_bytes <= operand.requested_bytes * (1 + ROUNDING)


def hbm_carries_at_least_the_compulsory_bytes(
    attention: Attention, gpu: Gpu, schedule: str, options: Options
) -> None:
    """From a cold L2, Q, the keys and values seen, and O cross HBM at least once.

    A sampled schedule says itself which part of V it reads; K, Q and O must all cross.
    """
    launches = build_launches(schedule, attention, gpu, options)
    traffic = [
        placed.traffic.hbm_bytes for placed in place(launches, gpu, load="steady", warm=False)
    ]
    least = compulsory_bytes(problem_of(schedule, attention))
    if not is_exact(schedule):
        least -= (
            kv_bytes(attention) * attention.value_dim / (attention.head_dim + attention.value_dim)
        )
        sampled = [o for la in launches for o in la.reads if o.name.partition("[")[0] == "v"]
        assert sampled
        least += sum(o.unique_bytes for o in sampled)
    assert sum(traffic) >= least * (1 - ROUNDING)


def no_launch_beats_a_bound(
    attention: Attention, gpu: Gpu, schedule: str, options: Options, *, engine: str, l2: str
) -> None:
    """Every launch takes at least as long as each of its analytic bounds."""
    launches = build_launches(schedule, attention, gpu, options)
    result = run(attention, gpu, launches, engine, l2)
    launched = place(launches, gpu, load="steady", warm=l2 == "warm")
    for placed, timed in zip(launched, result.launches, strict=True):
        for name, bound in bounds(placed, gpu).items():
            assert timed.time_us >= bound * (1 - ROUNDING), f"{timed.name} beats its {name} bound"


def shares_are_shares_and_reruns_are_identical(
    attention: Attention, gpu: Gpu, schedule: str, options: Options, *, engine: str, l2: str
) -> None:
    """Breakdowns add up to 1, fractions stay within 0 to 1, and a second run gives the same."""
    launches = build_launches(schedule, attention, gpu, options)
    result = run(attention, gpu, launches, engine, l2)
    assert result == run(attention, gpu, launches, engine, l2)
    assert result.bound in result.breakdown
    for breakdown in (result.breakdown, *(timed.breakdown for timed in result.launches)):
        assert sum(breakdown.values()) == pytest.approx(1, abs=1e-9)
        assert min(breakdown.values()) > 0
    for timed in result.launches:
        fractions = (timed.achieved_fraction, timed.sm_busy_fraction, timed.occupancy_fraction)
        assert all(0 < x <= 1 + ROUNDING for x in (*fractions, *timed.pipe_utilisation.values()))
        assert timed.achieved_fraction <= timed.occupancy_fraction * (1 + ROUNDING)


def a_faster_gpu_is_never_slower(
    attention: Attention, gpu: Gpu, schedule: str, options: Options, *, engine: str, l2: str
) -> None:
    """More HBM bandwidth or a higher clock, with the launches held fixed, costs no time.

    In `sim`, unequal items may lose up to `PAIRING`: at another pace they end in another order, so
    that other ones meet on an SM. It is the anomaly of list schedules, and hardware has it too.
    """
    launches = build_launches(schedule, attention, gpu, options)
    slack = ROUNDING if engine == "analytic" or is_uniform(launches) else PAIRING
    before = run(attention, gpu, launches, engine, l2).time_us
    for faster in (with_hbm(gpu, 1.3), with_clock(gpu, 1.2)):
        assert run(attention, faster, launches, engine, l2).time_us <= before * (1 + slack)


def more_sms_are_never_slower_on_uniform_work(
    attention: Attention, gpu: Gpu, schedule: str, options: Options, *, engine: str
) -> None:
    """A quarter more SMs cost no time where items are equal and memory holds nobody back.

    Neither holds for all work, in the simulator or on hardware. With unequal items, breadth-first
    placement may put two long CTAs on one SM of a larger GPU where a smaller one kept them apart.
    Under a saturated memory, the CTAs of more SMs share it, and those that are left for the tail
    (the second CTA of an SM, the last wave) cannot use it fully alone.
    """
    launches = build_launches(schedule, attention, gpu, options)
    assert is_uniform(launches)
    unlimited = with_memory(gpu, 1e9)
    larger = changed(unlimited, "sm", count=gpu.sm.count * 5 // 4)
    before = run(attention, unlimited, launches, engine, "cold").time_us
    assert run(attention, larger, launches, engine, "cold").time_us <= before * (1 + ROUNDING)


def engines_agree_on_uniform_work(
    attention: Attention, gpu: Gpu, schedule: str, options: Options, *, l2: str
) -> None:
    """`sim` and `analytic` are within `AGREEMENT` if every launch's items are equal."""
    launches = build_launches(schedule, attention, gpu, options)
    assert is_uniform(launches)
    simulated = run(attention, gpu, launches, "sim", l2).time_us
    predicted = run(attention, gpu, launches, "analytic", l2).time_us
    assert predicted == pytest.approx(simulated, rel=AGREEMENT)


def merging_equal_items_changes_little(
    attention: Attention, gpu: Gpu, schedule: str, options: Options, *, l2: str
) -> None:
    """`sim` with several equal items taken at once is within `MERGING` of one by one."""
    launches = build_launches(schedule, attention, gpu, options)
    merged = run(attention, gpu, launches, "sim", l2).time_us
    names = ("contract", "schedule")
    single = simulate_launches(attention, gpu, launches, names=names, l2=l2, merge=False).time_us
    assert merged == pytest.approx(single, rel=MERGING)


def is_uniform(launches: Launches) -> bool:
    """Whether the items of every launch are equal, edges of the tensors included."""
    return all(
        len(np.unique(column)) == 1
        for launch in launches
        for column in (
            launch.work.tiles.steps,
            launch.work.tiles.loop_bytes,
            launch.work.tiles.load_bytes + launch.work.tiles.store_bytes,
        )
    )


def changed(gpu: Gpu, part: str, **values: float) -> Gpu:
    """The GPU with other numbers in one part of its profile."""
    return gpu.model_copy(update={part: getattr(gpu, part).model_copy(update=values)})


def with_hbm(gpu: Gpu, factor: float) -> Gpu:
    """The GPU with that much more sustained HBM bandwidth."""
    return changed(gpu, "hbm", sustained_gb_per_s=gpu.hbm.sustained_gb_per_s * factor)


def with_memory(gpu: Gpu, factor: float) -> Gpu:
    """The GPU with that much more HBM bandwidth, and L2 bandwidth of all SMs together."""
    bandwidth = gpu.l2.bytes_per_clock * factor
    return changed(with_hbm(gpu, factor), "l2", bytes_per_clock=bandwidth)


def with_clock(gpu: Gpu, factor: float) -> Gpu:
    """The GPU with all its clocks that much higher."""
    names = ("boost_mhz", "benchmark_mhz", "steady_mhz")
    return changed(gpu, "clock", **{name: getattr(gpu.clock, name) * factor for name in names})
