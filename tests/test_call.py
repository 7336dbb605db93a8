"""Many calls at once in closed form: what each of them gives by itself."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from gpusim import Attention, Sequence, load_gpu, simulate, simulate_many
from gpusim.errors import SpecError
from gpusim.machine.account import total_result
from gpusim.result import Result
from gpusim.schedules.catalogue import SCHEDULES
from gpusim.schedules.implementations import IMPLEMENTATIONS
from gpusim.spec.gpu import Gpu
from gpusim.study import call as call_module
from gpusim.study.call import Call, call_of, predicted

A100, H100, L40S = (load_gpu(name) for name in ("a100_sxm_80gb", "h100_sxm", "l40s"))
SHAPES = (
    (Sequence(count=3, q_len=700, kv_len=3000), Sequence(count=5, q_len=1, kv_len=9000)),
    (Sequence(count=1, q_len=1, kv_len=70000),),
    (Sequence(count=64, q_len=1, kv_len=2048),),
    (Sequence(count=16, q_len=2048, kv_len=2048),),
    (Sequence(q_len=3, kv_len=5),),
    tuple(Sequence(q_len=n, kv_len=2 * n) for n in range(16, 512, 48)),
)


def _attention(sequences: tuple[Sequence, ...], **more: object) -> Attention:
    shape = {"q_heads": 32, "kv_heads": 8, "head_dim": 128} | more
    return Attention.model_validate(shape | {"sequences": sequences})


def _calls(gpu: Gpu) -> list[Call]:
    """All that runs of a mix of shapes, masks, pages, schedules and states."""
    found = []
    masks: tuple[dict[str, object], ...] = (
        {},
        {"causal": False},
        {"window": 500},
        {"page_size": 64},
    )
    for sequences, mask, name in itertools.product(SHAPES, masks, (*SCHEDULES, *IMPLEMENTATIONS)):
        state = {"l2": "warm" if mask else "cold", "load": "benchmark" if mask else "steady"}
        try:
            found.append(call_of(_attention(sequences, **mask), gpu, name, {}, **state))
        except SpecError:
            continue
    return found


@pytest.mark.parametrize("gpu", [A100, H100, L40S], ids=lambda gpu: gpu.name)
def test_a_column_gives_to_the_last_digit_what_each_call_gives(gpu: Gpu) -> None:
    column = _calls(gpu)
    assert len(column) > 150
    for call, found in zip(column, predicted(column), strict=True):
        assert [found] == list(predicted([call])), call.schedule


def test_many_calls_are_predicted_in_their_order_as_they_are_asked_for() -> None:
    taken = []

    def attentions() -> Iterator[Attention]:
        for sequences in SHAPES:
            taken.append(sequences)
            yield _attention(sequences)

    expected = [simulate(_attention(s), A100, "lean", "analytic", l2="warm") for s in SHAPES]
    assert list(simulate_many(attentions(), A100, "lean", "analytic", l2="warm")) == expected
    taken.clear()
    found = simulate_many(attentions(), A100, "flash2", block_n=32)
    assert next(found) == simulate(_attention(SHAPES[0]), A100, "flash2", block_n=32)
    assert len(taken) == 1  # each costs the simulator its time


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"schedule": "flash"}, "expected a schedule, found 'flash'"),
        ({"engine": "analytical"}, "engine: expected sim or analytic"),
        ({"l2": "hot"}, "l2: expected cold or warm"),
        ({"num_split": 3}, "schedule.num_split: expected an option"),
    ],
)
def test_what_is_wrong_for_all_calls_is_said_before_the_first(
    wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        simulate_many(iter(()), A100, **({"schedule": "flash2"} | wrong))


def test_an_error_comes_after_the_results_of_those_before_it() -> None:
    good = _attention(SHAPES[1])
    large: dict[str, Any] = {"block_m": 128, "block_n": 256, "num_warps": 8, "stages": 4}
    refused = _attention(SHAPES[1], head_dim=512)
    for engine in ("sim", "analytic"):
        found = simulate_many([good, good, refused, good], A100, "flash2", engine)
        assert next(found) == next(found) == simulate(good, A100, "flash2", engine)
        with pytest.raises(SpecError, match="head_dim: expected at most 256, found 512"):
            next(found)
        too_large = simulate_many([good, refused], A100, "flash2", engine, **large)
        with pytest.raises(SpecError, match="expected a CTA that fits"):
            next(too_large)


def test_calls_in_memory_are_few_and_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the limits are, the results are the same."""
    attentions = [_attention(SHAPES[n % 6]) for n in range(20)]
    expected = list(simulate_many(attentions, A100, "lean", "analytic"))
    held: list[list[Call]] = []
    column = call_module._column

    def watched(calls: list[Call]) -> list[Result | Exception]:
        held.append(calls)
        return column(calls)

    monkeypatch.setattr(call_module, "_column", watched)
    monkeypatch.setattr(call_module, "MAX_CALLS", 7)
    assert list(simulate_many(attentions, A100, "lean", "analytic")) == expected
    assert [len(calls) for calls in held] == [7, 7, 6]
    held.clear()
    sizes = [call_of(a, A100, "lean", {}).table_bytes for a in attentions]
    most = sum(sizes[:3])
    monkeypatch.setattr(call_module, "MAX_TABLE_BYTES", most)
    assert list(simulate_many(attentions, A100, "lean", "analytic")) == expected
    for calls in held:
        assert sum(call.table_bytes for call in calls[:-1]) < most
    assert len(held) > 3


def test_the_memory_of_a_call_counts_its_rows_and_its_workers() -> None:
    """A list of one pass for each of 64 heads and 1,000 sequences: 64 B a row, 16 B a worker."""
    many = _attention((Sequence(count=1000, q_len=1, kv_len=64),), q_heads=64)
    assert call_of(many, A100, "flash1", {}).table_bytes == 64 + 16 + 16 * 64_000


def test_a_failure_of_ours_spoils_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    column = [
        call_of(_attention(SHAPES[n % 6]), A100, "flash2", {}, workload=f"call {n}")
        for n in range(9)
    ]
    expected = list(predicted(column))

    def failing(*arguments: Any, names: tuple[str, str], **more: Any) -> Result:
        if names[0] == "call 5":
            raise ZeroDivisionError
        return total_result(*arguments, names=names, **more)

    monkeypatch.setattr("gpusim.analytic.engine.total_result", failing)
    found = list(predicted(column))
    assert isinstance(found.pop(5), ZeroDivisionError)
    assert found == expected[:5] + expected[6:]


def test_calls_of_several_gpus_and_states_keep_their_order() -> None:
    attention = _attention(SHAPES[0])
    column = [
        call_of(attention, gpu, schedule, {}, l2=l2, workload=f"{gpu.name} {schedule} {l2}")
        for l2 in ("cold", "warm")
        for schedule in ("flash2", "lean")
        for gpu in (A100, H100, A100)
    ]
    for call, found in zip(column, predicted(column), strict=True):
        assert isinstance(found, Result)
        assert (found.workload, found.gpu) == (call.workload, call.gpu.name)
        assert found == simulate(
            attention, call.gpu, call.schedule, "analytic", l2=call.l2, workload=call.workload
        )


def test_a_call_that_fails_spoils_no_other() -> None:
    good = [call_of(_attention(s), A100, "flash2", {}) for s in SHAPES]
    large: dict[str, Any] = {"block_m": 128, "block_n": 256, "num_warps": 8, "stages": 4}
    bad = call_of(_attention(SHAPES[0]), A100, "flash2", large)
    found = list(predicted([*good[:2], bad, *good[2:], bad]))
    errors = [found.pop(2), found.pop()]
    assert found == list(predicted(good))
    with pytest.raises(SpecError) as alone:
        simulate(_attention(SHAPES[0]), A100, "flash2", "analytic", **large)
    assert [str(error) for error in errors] == [str(alone.value)] * 2
    assert "expected a CTA that fits on an SM" in str(alone.value)
