"""LeanAttention: schedules worked by hand, what the plan deals out, and who waits for whom."""

from functools import partial

import contracts
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpusim.errors import SpecError
from gpusim.launch_result import Span
from gpusim.machine.place import place
from gpusim.result import Result
from gpusim.schedules.catalogue import build_launches
from gpusim.schedules.launch import Launch
from gpusim.schedules.mask import compulsory_bytes
from gpusim.schedules.stream_k import cut, lean_workers, worker_bounds
from gpusim.sim.engine import simulate_launches
from gpusim.spec.attention import Attention, Sequence
from gpusim.spec.gpu import Gpu
from gpusim.spec.load import load_gpu
from gpusim.study.simulate import simulate

KI = 1024
A100, H100, ADA = "a100_sxm_80gb", "h100_sxm", "rtx_6000_ada"
deterministic = partial(settings, derandomize=True, deadline=None, database=None)


def _attention(
    *sequences: Sequence, q_heads: int = 32, kv_heads: int = 8, head_dim: int = 128
) -> Attention:
    return Attention(q_heads=q_heads, kv_heads=kv_heads, head_dim=head_dim, sequences=sequences)


def _decode(batch: int, q_heads: int, kv_heads: int, kv_len: int, head_dim: int) -> Attention:
    sequence = Sequence(count=batch, q_len=1, kv_len=kv_len)
    return _attention(sequence, q_heads=q_heads, kv_heads=kv_heads, head_dim=head_dim)


def _lean(attention: Attention, gpu: Gpu, **options: object) -> Launch:
    (launch,) = build_launches("lean", attention, gpu, options)
    return launch


def _per_worker(launch: Launch) -> list[int]:
    """Tiles of every worker."""
    assert launch.work.lists is not None
    return [int(n) for n in launch.work.lists.totals(launch.work.tiles.steps)]


def _guests(launch: Launch) -> int:
    """Segments whose worker leaves the output to another."""
    assert launch.work.peers is not None
    return int(launch.work.peers.sum())


def _partial_bytes(launch: Launch) -> float:
    return sum(o.requested_bytes for o in launch.writes if o.name == "partial")


LLAMA, LLAMA4 = (1, 32, 8, 32 * KI, 128), (4, 32, 8, 32 * KI, 128)
MHA, PHI = (1, 56, 56, 128 * KI, 64), (1, 40, 10, 64 * KI, 128)
#: (batch, query heads, KV heads, KV length, head size), GPU: tiles, workers, tiles of the fullest
#: worker, utilisation, partial results.
WORKED = [
    (LLAMA, A100, 2048, 216, 10, 0.948, 215),
    (LLAMA, H100, 2048, 256, 8, 1.0, 248),
    (LLAMA, ADA, 2048, 256, 8, 1.0, 248),
    (LLAMA4, A100, 8192, 216, 38, 0.998, 214),
    (LLAMA4, H100, 8192, 264, 32, 0.970, 262),
    (LLAMA4, ADA, 8192, 284, 29, 0.995, 283),
    (MHA, A100, 28672, 216, 133, 0.998, 215),
    (MHA, H100, 28672, 264, 109, 0.996, 263),
    (MHA, ADA, 28672, 284, 101, 0.9996, 283),
    (PHI, A100, 5120, 216, 24, 0.988, 213),
    (PHI, H100, 5120, 264, 20, 0.970, 263),
    (PHI, ADA, 5120, 284, 19, 0.949, 282),
]


@pytest.mark.parametrize(
    ("shape", "gpu_name", "tiles", "workers", "most", "utilisation", "partials"), WORKED
)
def test_worked_decode_shapes_are_dealt_out_as_the_rule_says(
    shape: tuple[int, int, int, int, int],
    gpu_name: str,
    tiles: int,
    workers: int,
    most: int,
    utilisation: float,
    partials: int,
) -> None:
    attention = _decode(*shape)
    launch = _lean(attention, load_gpu(gpu_name))
    dealt = _per_worker(launch)
    assert (sum(dealt), launch.num_ctas, max(dealt)) == (tiles, workers, most)
    digits = 4 if utilisation == 0.9996 else 3
    assert round(tiles / (workers * most), digits) == utilisation
    assert _guests(launch) == partials
    rows = attention.group_size
    assert _partial_bytes(launch) == partials * rows * (4 * attention.head_dim + 4)


def test_a_small_problem_gets_two_tiles_a_worker_and_at_most_32_workers_an_output() -> None:
    assert lean_workers(8, 8, 1, 100) == 4  # eight outputs of one tile
    assert lean_workers(9, 3, 3, 100) == 5  # odd: one worker has a single tile
    assert lean_workers(400, 1, 400, 100) == 32  # one output
    assert lean_workers(1, 1, 1, 100) == 1
    assert lean_workers(401, 100, 5, 100) == 200  # above four tiles an SM: two workers an SM
    assert lean_workers(1000, 2, 500, 100) == 64


plans = st.tuples(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(1, 300))


@deterministic(max_examples=200)
@given(plans)
def test_every_worker_gets_its_equal_share_and_every_tile_is_dealt_once(
    drawn: tuple[list[int], int],
) -> None:
    tiles, total = np.array(drawn[0]), sum(drawn[0])
    workers = min(drawn[1], total)
    plan = cut(tiles, workers)
    first, stop = np.zeros_like(plan.output), tiles[plan.output]
    first[plan.part], stop[plan.part] = plan.first, plan.stop
    assert np.array_equal(np.flatnonzero(stop - first < tiles[plan.output]), np.sort(plan.part))
    share = np.add.reduceat(stop - first, plan.begin)
    assert len(share) == workers
    assert set(share) <= {-(-total // workers), -(-total // workers) - 1}
    assert np.all(np.diff(share) <= 0)
    dealt = [(o, t) for o, a, b in zip(plan.output, first, stop, strict=True)
             for t in range(a, b)]  # fmt: skip
    assert dealt == [(o, t) for o, n in enumerate(tiles) for t in range(n)]
    assert worker_bounds(total, workers).tolist() == [0, *np.cumsum(share).tolist()]


@deterministic(max_examples=200)
@given(plans)
def test_hosts_wait_at_the_end_of_their_run_for_the_first_segments_of_the_next_workers(
    drawn: tuple[list[int], int],
) -> None:
    tiles = np.array(drawn[0])
    plan = cut(tiles, min(drawn[1], sum(drawn[0])))
    hosts, guests = plan.part[plan.first == 0], plan.part[plan.first > 0]
    assert np.array_equal(np.delete(plan.output, guests), np.arange(len(tiles)))
    assert plan.peers.sum() == len(guests)
    assert not plan.peers[plan.first > 0].any()
    worker = np.repeat(np.arange(len(plan.begin)), np.diff(plan.begin, append=len(plan)))
    share = np.diff(worker_bounds(int(tiles.sum()), len(plan.begin)))[worker]
    after = share[plan.part] - (plan.stop - plan.first)  # a guest is its worker's first segment
    assert plan.later == pytest.approx(np.where(plan.first > 0, after / share[plan.part], 0))
    for host, peers in zip(hosts, plan.peers[: len(hosts)], strict=True):
        assert worker[host] < worker[host + 1]
        own = guests[plan.output[guests] == plan.output[host]]
        assert worker[own].tolist() == [worker[host] + 1 + n for n in range(peers)]
        assert all(worker[guest - 1] < worker[guest] for guest in own)


lengths = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 9000)), min_size=1, max_size=8)


@deterministic(max_examples=60)
@given(lengths, st.sampled_from((A100, H100, ADA)), st.booleans())
def test_partial_results_are_written_and_read_once(
    drawn: list[tuple[int, int]], gpu_name: str, fixed: bool
) -> None:
    attention = _attention(*(Sequence(count=c, q_len=1, kv_len=n) for c, n in drawn))
    launch = _lean(attention, load_gpu(gpu_name), fixed_maximum=fixed)
    assert launch.merge_bytes == attention.group_size * (4 * 128 + 4)
    assert _partial_bytes(launch) == _guests(launch) * launch.merge_bytes
    assert [o for o in launch.reads if o.name == "partial"] == [
        o for o in launch.writes if o.name == "partial"
    ]
    (keys,) = (o for o in launch.reads if o.name == "kv")
    assert keys.requested_bytes == keys.unique_bytes == sum(c * n for c, n in drawn) * 8 * 512


def test_causal_prefill_gives_a_query_tile_the_kv_tiles_up_to_its_last_row() -> None:
    # 64 query rows against 128 keys: tiles 1, 1, 2, 2, ... of each head; no packing.
    attention = _attention(Sequence(q_len=1000, kv_len=1000), q_heads=4, kv_heads=2)
    launch = _lean(attention, load_gpu(A100))
    assert launch.work.packed == 1
    assert launch.work.stream is not None
    assert launch.work.total(launch.work.tiles.steps) == 4 * sum(-(-i // 2) for i in range(1, 17))
    assert set(launch.work.stream.tolist()) == {0, 1, 2, 3}


def test_a_plan_by_the_longest_sequence_leaves_the_others_workers_idle() -> None:
    attention = _attention(
        Sequence(q_len=1, kv_len=64 * KI), Sequence(count=31, q_len=1, kv_len=KI)
    )
    gpu = load_gpu(A100)
    own, longest = _lean(attention, gpu), _lean(attention, gpu, fixed_maximum=True)
    assert sum(_per_worker(own)) == sum(_per_worker(longest)) == 8 * (512 + 31 * 8)
    assert max(_per_worker(own)) - min(_per_worker(own)) <= 1
    assert max(_per_worker(longest)) == -(-8 * 512 * 32 // 216)
    assert min(_per_worker(longest)) <= 8
    assert 0 in longest.work.tiles.steps
    slow = simulate(attention, gpu, "lean", "sim", fixed_maximum=True).time_us
    assert slow > 1.5 * simulate(attention, gpu, "lean", "sim").time_us


def test_sequences_of_one_length_are_planned_alike_either_way() -> None:
    attention, gpu = _decode(5, 32, 8, 5000, 128), load_gpu(H100)
    times = {
        simulate(attention, gpu, "lean", "sim", fixed_maximum=x).time_us for x in (True, False)
    }
    assert len(times) == 1


def _traced(attention: Attention, launch: Launch, gpu: Gpu) -> tuple[Result, list[Span]]:
    result = simulate_launches(attention, gpu, (launch,), names=("test", "lean"), trace=True)
    return result, sorted(result.spans, key=lambda span: span.item)


def test_a_host_ends_when_its_peers_have_ended_and_it_has_merged_them() -> None:
    # One output of 13 tiles on seven workers: 2, 2, 2, 2, 2, 2, 1. The first one hosts.
    gpu = contracts.with_memory(load_gpu(A100), 1e6)
    attention = _decode(1, 4, 1, 13 * 128, 128)
    launch = _lean(attention, gpu)
    (placed,) = place((launch,), gpu, load="steady", warm=False)
    result, spans = _traced(attention, launch, gpu)
    own = (placed.latency_us + placed.units / placed.rate(1))[launch.work.order()]
    ends = [span.end_us - placed.gap_us for span in spans]
    assert ends[1:] == pytest.approx(own[1:].tolist())
    assert ends[0] == pytest.approx(max(own) + 6 * placed.merge_us)
    assert result.launches[0].time_us == pytest.approx(ends[0])
    assert contracts.run(attention, gpu, (launch,), "analytic", "cold").launches[
        0
    ].time_us == pytest.approx(ends[0])


@deterministic(max_examples=40)
@given(lengths, st.integers(1, 3), st.sampled_from((1, 64, 200)), st.booleans())
def test_all_segments_end_although_fewer_ctas_fit_than_the_grid_has(
    drawn: list[tuple[int, int]], sms: int, q_len: int, fixed: bool
) -> None:
    # One CTA fits on an SM here, the grid has two: half of it waits for room.
    gpu = contracts.changed(load_gpu(ADA), "sm", count=sms + 1)
    sequences = (Sequence(count=c, q_len=min(n, q_len), kv_len=n) for c, n in drawn)
    attention = _attention(*sequences, q_heads=4, kv_heads=2)
    launch = _lean(attention, gpu, fixed_maximum=fixed)
    _, spans = _traced(attention, launch, gpu)
    assert [span.item for span in spans] == list(range(launch.work.num_items))


def test_partial_results_of_workers_that_end_together_never_leave_l2() -> None:
    # One output: every worker writes its partial result last of all, and the host reads it then.
    attention, gpu = _decode(1, 8, 1, 512 * KI, 128), load_gpu(A100)
    launch = _lean(attention, gpu)
    (placed,) = place((launch,), gpu, load="steady", warm=False)
    assert _guests(launch) == 31
    assert placed.traffic.hbm_bytes == compulsory_bytes(attention)


def test_partial_results_that_wait_while_much_is_read_are_evicted() -> None:
    # 128 outputs on 216 workers: a worker ends one output, then reads its share of the next.
    attention, gpu = _decode(16, 32, 8, 32 * KI, 128), load_gpu(A100)
    launch = _lean(attention, gpu)
    (placed,) = place((launch,), gpu, load="steady", warm=False)
    both_ways = 2 * _partial_bytes(launch)
    assert placed.traffic.hbm_bytes == pytest.approx(compulsory_bytes(attention) + both_ways)


def _hbm_bytes(attention: Attention, gpu: Gpu) -> float:
    (placed,) = place((_lean(attention, gpu),), gpu, load="steady", warm=False)
    return placed.traffic.hbm_bytes


@pytest.mark.parametrize("gpu_name", [A100, H100, ADA])
@pytest.mark.parametrize("q_heads", [8, 32])
@pytest.mark.parametrize("decode", [(1, KI), (1, 4 * KI), (8, 4 * KI), (48, 3000)])
@pytest.mark.parametrize("prefill", [(1, 2 * KI, 16 * KI), (1, 4 * KI, 4 * KI), (8, KI, 2 * KI)])
def test_short_decodes_beside_a_prefill_add_about_what_they_ask_for(
    prefill: tuple[int, int, int], decode: tuple[int, int], q_heads: int, gpu_name: str
) -> None:
    """They do not turn the re-reads of the prefill, tens of times its K and V, into misses.

    Up to four times: their K and V lengthen distances, and on the ramp between hits and misses,
    which begins at half of H100's L2, longer distances miss more.
    """
    gpu, (count, q_len, kv_len) = load_gpu(gpu_name), prefill
    long = Sequence(count=count, q_len=q_len, kv_len=kv_len)
    short = Sequence(count=decode[0], q_len=1, kv_len=decode[1])
    alone, both, own = (_attention(*x, q_heads=q_heads) for x in ((long,), (long, short), (short,)))
    added = _hbm_bytes(both, gpu) - _hbm_bytes(alone, gpu)
    # Beside a prefill no query heads are packed: each asks for K and V.
    assert added <= 4 * compulsory_bytes(own) * own.group_size


def test_an_entry_is_asked_again_for_its_own_bytes() -> None:
    """A 2k chunk is walked many times; a decode asks for its keys once."""
    chunk, decode = Sequence(q_len=2048, kv_len=16384), Sequence(count=8, q_len=1, kv_len=4096)
    launch = _lean(_attention(chunk, decode, q_heads=8), load_gpu(H100))
    (keys,) = (o for o in launch.reads if o.name == "kv")
    assert keys.unique_bytes == (16384 + 8 * 4096) * 8 * 512
    assert keys.rereads is not None
    again = sum(bytes_ for bytes_, _ in keys.rereads)
    assert again == pytest.approx(keys.requested_bytes - keys.unique_bytes)
    distances = [distance for _, distance in keys.rereads]
    assert min(distances) > 0
    assert max(distances) < keys.unique_bytes


def test_workers_anywhere_in_a_stream_come_by_at_exponential_distances() -> None:
    """Alone in L2, a chunk is touched again after kv·(1 - exp(-t)): half of the times t < ln 2."""
    chunk = Sequence(q_len=2048, kv_len=16384)
    (keys,) = (o for o in _lean(_attention(chunk), load_gpu(H100)).reads if o.name == "kv")
    assert keys.rereads is not None
    distances = [distance for _, distance in keys.rereads]
    assert np.median(distances) == pytest.approx(keys.unique_bytes / 2, rel=0.01)


def test_streams_one_after_another_are_all_that_run_apart() -> None:
    """40 prefills, 320 streams on 264 workers: each worker comes back after one stream of 264."""
    attention = _attention(Sequence(count=40, q_len=2 * KI, kv_len=4 * KI))
    (keys,) = (o for o in _lean(attention, load_gpu(H100)).reads if o.name == "kv")
    assert keys.rereads is not None
    assert {distance for _, distance in keys.rereads} == {264.0 * 4 * KI * 512}


@pytest.mark.parametrize("engine", ["sim", "analytic"])
def test_a_gpu_with_room_for_a_single_cta_hangs_and_says_so(engine: str) -> None:
    gpu = contracts.changed(load_gpu(ADA), "sm", count=1)
    with pytest.raises(SpecError, match="waits for one that has not started"):
        simulate(_decode(1, 8, 1, 32 * KI, 128), gpu, "lean", engine)


@pytest.mark.parametrize("gpu_name", [A100, H100, ADA])
@pytest.mark.parametrize("kv_len", [KI, 4 * KI, 32 * KI, 128 * KI])
@pytest.mark.parametrize("batch", [1, 4, 16, 64])
def test_engines_agree_on_uniform_decode(gpu_name: str, kv_len: int, batch: int) -> None:
    attention, gpu = _decode(batch, 32, 8, kv_len, 128), load_gpu(gpu_name)
    simulated = simulate(attention, gpu, "lean", "sim").time_us
    predicted = simulate(attention, gpu, "lean", "analytic").time_us
    assert predicted == pytest.approx(simulated, rel=contracts.AGREEMENT)


@pytest.mark.parametrize("gpu_name", [A100, H100])
@pytest.mark.parametrize("shape", [LLAMA, (1, 32, 8, 128 * KI, 128), MHA, PHI])
def test_it_beats_fixed_splits_where_heads_do_not_fill_the_gpu(
    gpu_name: str, shape: tuple[int, int, int, int, int]
) -> None:
    """The paper's direction: never slower than FlashDecoding, and one launch instead of two."""
    gpu = load_gpu(gpu_name)
    lean = simulate(_decode(*shape), gpu, "lean", "sim")
    split = simulate(_decode(*shape), gpu, "flash2_split_kv", "sim")
    assert lean.time_us < split.time_us
    assert (len(lean.launches), len(split.launches)) == (1, 2)


def test_a_thousand_ragged_sequences_cost_a_segment_per_output_and_per_worker_at_most() -> None:
    lengths = np.random.default_rng(7).uniform(1, 5, 1000)
    sequences = (Sequence(q_len=1, kv_len=int(10**x)) for x in lengths)
    launch = _lean(_attention(*sequences), load_gpu(A100))
    assert 8000 <= launch.work.num_items < 8000 + launch.num_ctas
