"""Many calls at once in closed form: what each of them gives by itself."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from gpusim import Attention, Sequence, load_gpu, simulate, simulate_many
from gpusim.errors import SpecError
from gpusim.result import Result
from gpusim.schedules.catalogue import SCHEDULES
from gpusim.schedules.implementations import IMPLEMENTATIONS
from gpusim.spec.gpu import Gpu
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
    with pytest.raises(SpecError, match="expected a schedule, found 'flash'"):
        next(simulate_many(attentions(), A100, "flash", "analytic"))
    with pytest.raises(SpecError, match="engine: expected sim or analytic"):
        simulate_many(attentions(), A100, "flash2", "analytical")


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
