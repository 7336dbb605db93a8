"""A replica that serves requests: when tokens come, who is evicted, and what always holds."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from step_timers import Linear, Scaled

from gpusim.study.batching import Batching, ReplicaLimits
from gpusim.study.kv_pages import KvPages
from gpusim.study.requests import Requests
from gpusim.study.serving import serve
from gpusim.study.serving_log import Meter, ServingRun, Steps

#: At this rate the times of arrival of `requests` are in us.
PER_US = 1e6


def requests(*rows: tuple[float, int, int]) -> Requests:
    """Requests from (arrival in us, prompt, output)."""
    return Requests(
        arrival=np.array([row[0] for row in rows], dtype=np.float64),
        prompt_tokens=np.array([row[1] for row in rows]),
        output_tokens=np.array([row[2] for row in rows]),
        rate_per_s=1.0,
    )


def limits(**changed: int) -> ReplicaLimits:
    """Room for all that the tests do not look at."""
    room = {"max_sequences": 8, "chunk_tokens": 64, "page_size": 4, "kv_pages": 1000}
    return ReplicaLimits(**(room | changed))


def times(run: ServingRun) -> list[tuple[float, float]]:
    """Time of the first and of the last token of each request."""
    return [
        (round(first, 6), round(done, 6))
        for first, done in zip(run.first_us.tolist(), run.done_us.tolist(), strict=True)
    ]


def test_a_prompt_is_prefilled_in_chunks_and_its_last_chunk_gives_the_first_token() -> None:
    run = serve(requests((0, 12, 3)), PER_US, Linear(), limits(chunk_tokens=8))
    # 8 tokens in 18 us, 4 in 14: first token at 32; then two steps of 10
    assert times(run) == [(32, 52)]


def test_a_request_joins_at_the_next_step_boundary() -> None:
    run = serve(requests((0, 12, 3), (35, 4, 1)), PER_US, Linear(), limits(chunk_tokens=8))
    # a step runs from 32 to 42; the next has a decode and a prompt of 4, and lasts 14
    assert times(run) == [(32, 56), (56, 56)]


def test_decodes_come_before_prompts_in_the_budget_of_a_step() -> None:
    run = serve(requests((0, 3, 4), (1, 8, 1)), PER_US, Linear(), limits(chunk_tokens=5))
    # first prompt until 13; then 1 decode and 4 prompt tokens in each of two steps of 14
    assert times(run) == [(13, 51), (41, 41)]


def test_one_sequence_waits_for_the_other_when_one_may_run() -> None:
    run = serve(requests((0, 4, 2), (0, 4, 2)), PER_US, Linear(), limits(max_sequences=1))
    assert times(run) == [(14, 24), (38, 48)]


def test_who_was_admitted_last_is_evicted_and_computed_again() -> None:
    # Pages for 16 tokens; both prompts take 8. The first decode of each needs a page that nobody
    # has: the second is evicted. The first ends after 8 steps; then 9 tokens of the second, its
    # prompt and what it had generated, are prefilled in 19 us for its second token.
    run = serve(requests((0, 8, 9), (0, 8, 3)), PER_US, Linear(), limits(kv_pages=4))
    assert times(run) == [(26, 106), (26, 135)]
    assert run.preemptions == 1


def test_a_prompt_waits_until_all_its_pages_are_free() -> None:
    run = serve(requests((0, 8, 3), (0, 12, 1)), PER_US, Linear(), limits(kv_pages=4))
    assert times(run) == [(18, 38), (60, 60)]
    assert run.preemptions == 0


def test_the_overhead_is_added_to_every_step() -> None:
    run = serve(requests((0, 4, 3)), PER_US, Linear(), limits(), overhead_us=100)
    assert times(run) == [(114, 334)]


def test_a_request_that_never_fits_is_refused() -> None:
    with pytest.raises(ValueError, match="takes each request alone"):
        serve(requests((0, 30, 4)), PER_US, Linear(), limits(kv_pages=8))
    assert times(serve(requests((0, 30, 3)), PER_US, Linear(), limits(kv_pages=8)))


def test_decode_steps_in_a_row_are_one_event() -> None:
    alone = requests((0, 1000, 200))
    merged = serve(alone, PER_US, Linear(cached=0.01), limits(chunk_tokens=1000))
    single = serve(alone, PER_US, Linear(cached=0.01), limits(chunk_tokens=1000), merge=False)
    assert times(merged) == times(single)
    assert (merged.events, single.events) == (2, 200)


def test_times_per_token_leave_out_the_first_and_requests_of_one() -> None:
    run = serve(requests((0, 4, 1), (0, 4, 3)), PER_US, Linear(), limits())
    assert run.tpot_us.tolist() == [0.0, 10.0]
    assert run.ttft_us.tolist() == [18.0, 18.0]


def test_steps_count_by_their_share_of_the_window() -> None:
    meter = Meter(10.0, 20.0)
    steps = Steps(
        count=4,
        batch=2,
        decode_kv_tokens=100.0,
        prefill_tokens=0,
        prefill_kv_tokens=0,
        pages=0.5,
        waiting_for="kv_capacity",
    )
    meter.add(0.0, 20.0, steps)
    assert (meter.steps, meter.decode_tokens, meter.busy_us) == (2.0, 4.0, 10.0)
    assert meter.waited_us["kv_capacity"] == 10.0
    meter.add(20.0, 30.0, steps)
    assert meter.steps == 2.0


@given(st.integers(1, 9), st.lists(st.integers(1, 40), max_size=6), st.integers(0, 50))
def test_growth_of_pages_is_what_each_sequence_would_take(
    page_size: int, cached: list[int], steps: int
) -> None:
    pages = KvPages(1000, page_size)
    for tokens in cached:
        pages.start_decode(tokens, 7)
    grown = sum(pages.needed(tokens + steps) - pages.needed(tokens) for tokens in cached)
    assert pages.growth(7, steps) == grown
    pages.free = grown
    assert pages.steps_left(7, steps) == steps


Rows = list[tuple[float, int, int]]
ROWS = st.lists(
    st.tuples(st.floats(0, 3000), st.integers(1, 60), st.integers(1, 40)), min_size=1, max_size=25
).map(lambda rows: sorted(rows))
TIGHT = st.builds(
    ReplicaLimits,
    max_sequences=st.integers(1, 6),
    chunk_tokens=st.integers(6, 40),
    page_size=st.integers(1, 8),
    kv_pages=st.integers(100, 300),
)
TIMER = Linear(step=10.0, sequence=0.5, cached=0.02, prompt=1.0)


@settings(deadline=None, max_examples=60)
@given(ROWS, TIGHT)
def test_every_request_gets_all_its_tokens_and_all_pages_come_back(
    rows: Rows, room: ReplicaLimits
) -> None:
    batching = Batching([row[1] for row in rows], [row[2] for row in rows], room)
    batching.waiting.extend(range(len(rows)))
    decoded = 0
    firsts: list[int] = []
    ended: list[int] = []
    while len(ended) < len(rows):
        steps = batching.plan()
        assert steps is not None
        assert steps.batch + steps.prefill_tokens <= room.chunk_tokens
        first, done = batching.advance(steps.count)
        assert 0 <= batching.free_pages <= room.kv_pages
        decoded += steps.batch * steps.count
        firsts += first
        ended += done
    assert batching.plan() is None
    assert batching.free_pages == room.kv_pages
    assert sorted(firsts) == sorted(ended) == list(range(len(rows)))
    # each prefill, those after an eviction too, gives one token; decodes give all others
    assert decoded <= sum(row[2] for row in rows) - len(rows)
    assert decoded >= sum(row[2] for row in rows) - len(rows) - batching.preemptions


@settings(deadline=None, max_examples=60)
@given(ROWS, TIGHT)
def test_littles_law_and_the_order_of_times(rows: Rows, room: ReplicaLimits) -> None:
    run = serve(requests(*rows), PER_US, TIMER, room)
    assert np.isfinite(run.done_us).all()
    assert (run.first_us > run.arrival_us).all()
    assert (run.done_us >= run.first_us).all()
    stays = float((run.done_us - run.arrival_us).sum())
    assert run.in_system_us == pytest.approx(stays, rel=1e-9)


@settings(deadline=None, max_examples=60)
@given(ROWS, TIGHT)
def test_merged_steps_end_when_single_steps_do(rows: Rows, room: ReplicaLimits) -> None:
    """A step's time is linear in the cached tokens here, so that merging adds no error."""
    merged = serve(requests(*rows), PER_US, TIMER, room)
    single = serve(requests(*rows), PER_US, TIMER, room, merge=False)
    assert np.allclose(merged.first_us, single.first_us, rtol=1e-9)
    assert np.allclose(merged.done_us, single.done_us, rtol=1e-9)
    assert merged.preemptions == single.preemptions
    assert merged.events <= single.events


class Curved(Linear):
    """Steps whose time grows with the square of the cached tokens: worse than any real one."""

    def step_us(self, **step: int) -> float:
        """Time of a step."""
        return super().step_us(**step) + 1e-4 * step["decode_kv_tokens"] ** 2


def test_merging_steps_of_curved_times_errs_by_less_than_two_per_cent() -> None:
    generator = np.random.default_rng(1)
    rows = [(400.0 * i, int(generator.integers(20, 200)), 120) for i in range(40)]
    merged = serve(requests(*rows), PER_US, Curved(), limits(chunk_tokens=512))
    single = serve(requests(*rows), PER_US, Curved(), limits(chunk_tokens=512), merge=False)
    assert np.allclose(merged.done_us, single.done_us, rtol=0.02)
    assert merged.events < single.events / 3


@settings(deadline=None, max_examples=30)
@given(ROWS, TIGHT, st.floats(0.5, 2))
def test_a_run_with_slower_steps_and_slower_arrivals_is_the_same_run(
    rows: Rows, room: ReplicaLimits, factor: float
) -> None:
    """What the sensitivity to step time rests on."""
    run = serve(requests(*rows), PER_US, TIMER, room)
    slow = serve(requests(*rows), PER_US / factor, Scaled(TIMER, factor), room)
    assert np.allclose(slow.ttft_us, factor * run.ttft_us, rtol=1e-6, atol=1e-6)
    assert np.allclose(slow.tpot_us, factor * run.tpot_us, rtol=1e-6, atol=1e-6)


def test_cost_goes_by_requests_and_not_by_tokens() -> None:
    """Guards the number of events: a request with an output of 2000 tokens has a few of them."""
    rows: Sequence[tuple[float, int, int]] = [(1e5 * i, 500, 2000) for i in range(50)]
    room = limits(kv_pages=10**6, chunk_tokens=2048)
    run = serve(requests(*rows), PER_US, TIMER, room)
    assert run.events < 20 * len(rows)
