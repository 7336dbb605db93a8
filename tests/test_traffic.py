"""What L2 answers and what goes to HBM, on launches small enough to count by hand."""

from dataclasses import replace

import numpy as np
import pytest

from gpusim.machine.traffic import Traffic, count_traffic, miss
from gpusim.schedules.launch import Launch, Operand
from gpusim.schedules.step import Part, Pipe, Step
from gpusim.schedules.work import Tiles, Work
from gpusim.spec.load import load_gpu
from gpusim.units import MIB

_SHIPPED = load_gpu("a100_sxm_80gb")
#: Hits up to 16 MiB of reuse distance, misses from 32.
GPU = _SHIPPED.model_copy(
    update={"l2": _SHIPPED.l2.model_copy(update={"hit_mib": 16.0, "miss_mib": 32.0})}
)


def _tensor(name: str, mib: float, *, asked: float = 1, heads_per_stream: int = 1) -> Operand:
    """A tensor of which every byte is requested `asked` times."""
    return Operand(
        name=name,
        unique_bytes=mib * MIB,
        requested_bytes=mib * MIB * asked,
        heads_per_stream=heads_per_stream,
    )


def _launch(
    reads: list[Operand], writes: list[Operand], *, ctas_per_head: int = 1, heads: int = 1
) -> Launch:
    """A launch over one sequence; only its operands and its number of CTAs matter here."""
    column, one = np.zeros(ctas_per_head), np.ones(ctas_per_head, dtype=np.int64)
    tiles = Tiles(
        steps=one,
        q_start=0 * one,
        q_rows=one,
        kv_start=0 * one,
        kv_stop=one,
        loop_bytes=column,
        load_bytes=column,
        store_bytes=column,
    )
    work = Work(
        tiles=tiles,
        group_first=np.array([0]),
        group_rows=np.array([ctas_per_head]),
        copies=np.array([1]),
        heads=heads,
    )
    step = Step(tracks=((Part("mma", {Pipe.TENSOR: 1.0}),),), load_bytes=1.0)
    return Launch(
        name="kernel",
        threads=128,
        registers=64,
        smem_bytes=0,
        step=step,
        work=work,
        reads=tuple(reads),
        writes=tuple(writes),
    )


def _count(*launches: Launch, warm: bool, slots: int = 100) -> tuple[Traffic, ...]:
    return count_traffic(launches, GPU, (slots,) * len(launches), warm=warm)


def _mib(traffic: Traffic) -> tuple[float, float]:
    return traffic.hbm_read_bytes / MIB, traffic.hbm_write_bytes / MIB


@pytest.mark.parametrize(
    ("distance_mib", "share"), [(0, 0), (16, 0), (20, 0.25), (24, 0.5), (32, 1), (1000, 1)]
)
def test_misses_ramp_from_the_last_hit_to_the_first_full_miss(
    distance_mib: float, share: float
) -> None:
    assert miss(GPU, distance_mib * MIB) == share


def test_a_cold_launch_reads_and_writes_everything_once() -> None:
    (traffic,) = _count(_launch([_tensor("q", 1), _tensor("kv", 6)], [_tensor("o", 1)]), warm=False)
    assert _mib(traffic) == (7, 1)
    assert traffic.hbm_fraction == 1


@pytest.mark.parametrize(("kv_mib", "share"), [(14, 0), (22, 0.5), (30, 1), (300, 1)])
def test_a_warm_replay_misses_by_its_own_footprint(kv_mib: float, share: float) -> None:
    """Footprint = 1 + kv + 1 MiB: up to 16 all stays, results too; from 32 on nothing does."""
    launch = _launch([_tensor("q", 1), _tensor("kv", kv_mib)], [_tensor("o", 1)])
    (traffic,) = _count(launch, warm=True)
    assert _mib(traffic) == ((1 + kv_mib) * share, share)


def test_partials_of_one_wave_are_found_in_l2() -> None:
    """All CTAs store at the end, so half the combine's own 10 MiB is all that lies between."""
    forward = _launch([_tensor("kv", 500)], [_tensor("partial", 8)], ctas_per_head=100)
    combine = _launch([_tensor("partial", 8)], [_tensor("o", 2)])
    first, second = _count(forward, combine, warm=False)
    assert _mib(first) == (500, 0)
    assert _mib(second) == (0, 2)


def test_partials_of_many_waves_are_evicted_by_the_keys_between() -> None:
    """The first waves' come back after 508·(1 - 100/400) MiB, the last after the reader's 10.

    Of the 371 MiB between, 6 hit, 16 miss by half and 349 miss.
    """
    forward = _launch([_tensor("kv", 500)], [_tensor("partial", 8)], ctas_per_head=400)
    combine = _launch([_tensor("partial", 8)], [_tensor("o", 2)])
    first, second = _count(forward, combine, warm=False)
    missed = 8 * (16 / 2 + 349) / 371
    assert _mib(first) == pytest.approx((500, missed))
    assert _mib(second) == pytest.approx((missed, 2))


def test_a_launch_between_pushes_a_tensor_out() -> None:
    write = _launch([], [_tensor("x", 4)])
    other = _launch([_tensor("y", 22)], [])
    read = _launch([_tensor("x", 4)], [])
    assert [_mib(t) for t in _count(write, read, warm=False)] == [(0, 0), (0, 0)]
    # 22 MiB of y and half of the reader's 4 lie between: 24, half of it misses.
    assert [_mib(t) for t in _count(write, other, read, warm=False)] == [(0, 2), (22, 0), (2, 0)]


def test_a_tensor_that_two_launches_touch_passes_once() -> None:
    """Between the reads of a: half of a's two launches and b, 5 + 10 + 5 MiB of the 16 to 32."""
    a, b = _tensor("a", 10), _tensor("b", 10)
    launches = [_launch([x], []) for x in (a, b, b, a)]
    assert _mib(_count(*launches, warm=False)[-1])[0] == pytest.approx(10 * 0.25)


def _gqa(*, mib: float, ctas_per_head: int, heads: int, group: int) -> float:
    """MiB read by a launch in which each KV stream is walked by a group of heads."""
    kv = _tensor("kv", mib, asked=group, heads_per_stream=group)
    launch = _launch([kv], [], ctas_per_head=ctas_per_head, heads=heads)
    (traffic,) = _count(launch, warm=False)
    return traffic.hbm_read_bytes / MIB


def test_heads_of_a_group_that_run_together_read_keys_once() -> None:
    assert _gqa(mib=400, ctas_per_head=25, heads=8, group=4) == 400


def test_heads_of_a_group_that_run_apart_read_large_keys_again() -> None:
    """More CTAs a head than slots: by the next head, 400·4/8 MiB have passed."""
    assert _gqa(mib=400, ctas_per_head=101, heads=8, group=4) == 4 * 400


def test_heads_of_a_group_that_run_apart_find_small_keys_in_l2() -> None:
    assert _gqa(mib=30, ctas_per_head=101, heads=8, group=4) == 30


def test_half_a_group_at_a_time_reads_large_keys_twice() -> None:
    assert _gqa(mib=400, ctas_per_head=50, heads=8, group=4) == 2 * 400


def _again(mib: float, *parts: tuple[float, float]) -> Operand:
    """A tensor requested three times, with (MiB, distance in MiB) of what its schedule knows."""
    return replace(_tensor("x", mib, asked=3), rereads=tuple((b * MIB, d * MIB) for b, d in parts))


@pytest.mark.parametrize(
    ("parts", "again"),
    [
        ((), 0),  # all found
        (((20, 16),), 0),
        (((20, 24),), 10),
        (((20, 32),), 20),
        (((4, 24), (10, 32), (6, 0)), 12),
        (((30, 32),), 20),  # no more than was requested
    ],
)
def test_what_a_schedule_says_is_touched_again_misses_by_its_distance(
    parts: tuple[tuple[float, float], ...], again: float
) -> None:
    x = _again(10, *parts)
    assert _mib(_count(_launch([x], []), warm=False)[0]) == (10 + again, 0)
    assert _mib(_count(_launch([], [x]), warm=False)[0]) == (0, 10 + again)


@pytest.mark.parametrize(("distance_mib", "share"), [(16, 0), (24, 0.5), (32, 1)])
def test_scratch_of_a_launch_reaches_hbm_only_if_evicted_before_it_is_read(
    distance_mib: float, share: float
) -> None:
    scratch = replace(_tensor("x", 4), scratch_distance=distance_mib * MIB)
    for warm in (False, True):
        (traffic,) = _count(_launch([scratch], [scratch]), warm=warm)
        assert _mib(traffic) == (4 * share, 4 * share)


def test_what_is_read_and_written_without_being_scratch_comes_from_hbm_and_goes_there() -> None:
    """Its old contents are read first, and its last ones are a result."""
    state = _again(4, (8, 24))
    (traffic,) = _count(_launch([state], [state]), warm=False)
    assert _mib(traffic) == (4 + 4, 4 + 4)


def test_no_walk_is_charged_more_than_what_was_requested() -> None:
    kv = _tensor("kv", 400, asked=1.5, heads_per_stream=4)
    (traffic,) = _count(_launch([kv], [], ctas_per_head=101, heads=8), warm=False)
    assert _mib(traffic) == (600, 0)


def test_a_range_of_reuse_distances_misses_by_its_mean() -> None:
    """Hits to 16 MiB, misses from 32: 8 of the 24 MiB hit, 16 lie on the ramp and miss by half."""
    assert miss(GPU, 8 * MIB, 32 * MIB) == pytest.approx((8 * 0 + 16 * 0.5) / 24)
    assert miss(GPU, 24 * MIB, 48 * MIB) == pytest.approx((8 * 0.75 + 16 * 1) / 24)


def test_what_a_copy_writes_comes_behind_all_that_it_moves() -> None:
    """A copy of 20 MiB in one wave, then a launch that reads it and 20 MiB more.

    Of a kernel whose CTAs store at their end, the first bytes would be read at once, the last after
    40 MiB; of a copy the first come back after its 40 MiB too: all distances are 40 MiB, all miss.
    """
    copy = _launch([_tensor("x", 20)], [_tensor("y", 20)])
    reader = _launch([_tensor("y", 20), _tensor("q", 20)], [])
    for plain, missed in ((False, (8 * 1 + 16 * 0.5) / 40), (True, 1.0)):
        launches = (replace(copy, plain=plain), reader)
        _, found = count_traffic(launches, GPU, (1, 1), warm=False)
        assert found.hbm_read_bytes == pytest.approx((20 + 20 * missed) * MIB)
