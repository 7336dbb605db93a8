"""The check of a kernel's outputs: what it lets pass, and what it sees. Kernels are interpreted."""

from typing import Any

import numpy as np
import pytest
from interpreter import ARRAY_BOUNDS, OWN, problem, torch
from spoilt import spoilt, wrong

import gpusim
from gpusim.spec.load import load_gpu
from validation.kernels.lean import lean
from validation.measuring import checks, launching
from validation.measuring.cases import options_of
from validation.measuring.launching import Output, call_of
from validation.reference import reference

pytestmark = pytest.mark.filterwarnings(ARRAY_BOUNDS)
S = gpusim.Sequence
H200 = load_gpu("h200_sxm")

SAMPLED = ("santa_flash", "santa_prop")
PROBLEMS = {
    "causal": problem(sequences=(S(count=2, q_len=20, kv_len=77),)),
    "not causal": problem(causal=False, sequences=(S(count=2, q_len=20, kv_len=77),)),
    "window": problem(window=9, sequences=(S(count=2, q_len=20, kv_len=77),)),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_check_lets_pass_what_is_right(name: str) -> None:
    options = options_of(OWN + "flash2", PROBLEMS[name].attention, H200)
    checks.check_kernel(OWN + "flash2", PROBLEMS[name], options)


@pytest.mark.parametrize(
    ("factor", "lse", "message"),
    [
        (1.004, 0.0, "outputs are off by .* times the tolerance"),
        (1.0, 2e-4, "log-sum-exps are off by 0.0002"),
        (float("nan"), 0.0, "an output is not finite"),
    ],
)
def test_the_check_sees_what_is_a_little_off(factor: float, lse: float, message: str) -> None:
    given = PROBLEMS["causal"]
    right = call_of(OWN + "flash2", given, options_of(OWN + "flash2", given.attention, H200))()
    with pytest.raises(checks.WrongResultError, match=message):
        checks.check_outputs(
            spoilt(right, factor=factor, lse=lse), given, checks.all_rows(given), {}
        )


def test_the_check_sees_a_mask_that_is_one_key_off() -> None:
    shape: dict[str, Any] = {"sequences": (S(count=2, q_len=40, kv_len=77),)}
    narrow, wide = problem(window=9, **shape), problem(window=10, **shape)
    kernel = OWN + "flash2"
    call = call_of(kernel, wide, options_of(kernel, wide.attention, H200))
    with pytest.raises(checks.WrongResultError, match="outputs are off"):
        checks.check_outputs(call(), narrow, checks.few_rows(narrow), {})


@pytest.mark.parametrize("schedule", SAMPLED)
def test_the_check_of_sampled_outputs_sees_a_bias_that_one_run_hides(
    monkeypatch: pytest.MonkeyPatch, schedule: str
) -> None:
    given = problem(q_heads=8, kv_heads=1, sequences=(S(q_len=1, kv_len=100),))
    kernel = OWN + schedule
    options = options_of(kernel, given.attention, H200)
    monkeypatch.setattr(checks, "SEEDS", 24)
    variance = torch.cat([checks.exact(given, rows).variance for rows in checks.all_rows(given)])
    bias = 0.5 * float(variance.mean().sqrt()) / checks.draws_of(options, given) ** 0.5

    def biased(found: Output) -> Output:
        o, statistic = launching.output_of(found)
        return o + bias if statistic is None else (o + bias, statistic)

    monkeypatch.setattr(launching, "CALLS", wrong(schedule, biased))
    found = call_of(kernel, given, options)()
    checks.check_outputs(found, given, checks.all_rows(given), options)
    with pytest.raises(checks.WrongResultError, match="the mean of 24 runs is off by"):
        checks.check_kernel(kernel, given, options)


def test_exact_rows_are_those_of_the_reference() -> None:
    for given in PROBLEMS.values():
        o, lse = reference(given)
        for rows in checks.all_rows(given):
            should = checks.exact(given, rows)
            own = rows.sequence * 20 + rows.queries
            np.testing.assert_allclose(should.o, o[own, rows.head], atol=1e-12)
            np.testing.assert_allclose(should.lse, lse[own, rows.head])


def test_lean_takes_a_plan_prepared_before() -> None:
    given = problem(sequences=(S(count=2, q_len=1, kv_len=300),))
    options = options_of(OWN + "lean", given.attention, H200)
    call = call_of(OWN + "lean", given, options)
    assert torch.equal(call(), lean(given, **options))


@pytest.mark.parametrize("schedule", ["flash1", "flash2", "flash2_split_kv", *SAMPLED, "lean"])
def test_a_call_may_be_repeated_and_leaves_nothing_to_the_next(schedule: str) -> None:
    given = problem(q_heads=8, kv_heads=1, sequences=(S(count=2, q_len=1, kv_len=150),))
    kernel = OWN + schedule
    call = call_of(kernel, given, options_of(kernel, given.attention, H200))
    first, *others = (launching.output_of(call())[0] for _ in range(3))
    assert all(torch.equal(first, other) for other in others)
