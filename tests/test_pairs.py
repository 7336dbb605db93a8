"""Pairs of kernels on one problem: which are pairs, and which of them the model orders right."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Cli

from gpusim.spec.attention import Attention, Sequence
from gpusim.study.measured import MeasuredRow
from gpusim.study.pairs import Pair, pairs_of, share_right
from gpusim.study.predict_row import Prediction

PROBLEM = Attention(
    q_heads=8, kv_heads=8, head_dim=128, sequences=(Sequence(count=1, q_len=1, kv_len=4096),)
)
ROW = MeasuredRow(
    gpu="h100_sxm",
    kernel="a",
    phase="decode",
    l2="warm",
    measured_us=100.0,
    source="by hand",
    attention=PROBLEM,
)


def _prediction(kernel: str, measured: float, predicted: float, **changes: object) -> Prediction:
    attention = PROBLEM.model_copy(update=changes)
    row = replace(ROW, kernel=kernel, measured_us=measured, attention=attention)
    return Prediction(row=row, predicted_us=predicted, roofline_us=1.0, bound="hbm")


def test_three_kernels_on_a_problem_make_the_pairs_that_differ_by_enough() -> None:
    """100, 109 and 150 us: the first two are as fast as each other; c is slower than both."""
    found = [_prediction("a", 100, 90), _prediction("b", 109, 60), _prediction("c", 150, 80)]
    right, wrong = Pair("h100_sxm", ("b", "c"), True), Pair("h100_sxm", ("a", "c"), False)
    assert set(pairs_of(found)) == {right, wrong}
    assert share_right(pairs_of(found)) == {"pairs": 2, "right": 0.5}


@pytest.mark.parametrize(("slower", "pairs"), [(110.0, 0), (110.2, 1)])
def test_ten_per_cent_of_the_faster_one_decide(slower: float, pairs: int) -> None:
    found = [_prediction("b", slower, 2.0), _prediction("a", 100.0, 1.0)]
    assert share_right(pairs_of(found)) == {"pairs": pairs, "right": 1.0 if pairs else None}


def test_a_tie_picks_neither() -> None:
    found = [_prediction("a", 100, 50), _prediction("b", 200, 50)]
    assert share_right(pairs_of(found)) == {"pairs": 1, "right": 0.0}


def test_a_kernel_of_several_rows_stands_for_their_median() -> None:
    twice = [_prediction("a", us, 10.0) for us in (90.0, 100.0, 500.0)]
    assert share_right(pairs_of([*twice, _prediction("b", 120.0, 11.0)])) == {
        "pairs": 1,
        "right": 1.0,
    }


@pytest.mark.parametrize("change", [{"window": 64}, {"q_heads": 16}, {"kv_dtype": "fp8"}])
def test_other_problems_are_no_pairs(change: dict[str, object]) -> None:
    found = [_prediction("a", 100, 1), _prediction("b", 200, 2, **change)]
    assert len(pairs_of(found)) == 0
    cold = replace(found[0], row=replace(found[0].row, kernel="b", l2="cold", measured_us=200))
    assert len(pairs_of([found[0], cold])) == 0


@pytest.mark.parametrize("change", [{"page_size": 64}, {"kv_dtype": "bf16"}, {"v_head_dim": 128}])
def test_the_same_problem_said_otherwise_is_one(change: dict[str, object]) -> None:
    found = [_prediction("a", 100, 1), _prediction("b", 200, 2, **change)]
    assert share_right(pairs_of(found)) == {"pairs": 1, "right": 1.0}


CSV = """gpu,kernel,phase,batch,q_len,kv_len,q_heads,kv_heads,head_dim,dtype,kv_dtype,causal,\
window,page_size,l2,measured_us,source
l40s,flash_attn_2,prefill,1,4096,4096,8,8,128,bf16,,true,,,warm,400,a page
l40s,gpusim_triton_flash2,prefill,1,4096,4096,8,8,128,bf16,,true,,,warm,1,a page
"""


def test_the_command_says_how_many_pairs_are_right(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(CSV, encoding="utf-8")
    command = ("validate", "rows.csv", "--engine", "analytic")
    found = json.loads(cli(*command, "--format", "json").out)["pairs"]
    assert found["pairs"] == 1
    shown = "100% right" if found["right"] else "0% right"
    assert f"(more than 10%): 1 pairs, {shown}\n" in cli(*command).out
    header, totals, *_ = cli(*command, "--format", "csv").out.splitlines()
    cells = dict(zip(header.split(","), totals.split(","), strict=True))
    assert (cells["pairs.pairs"], cells["pairs.right"]) == ("1", str(found["right"]))
    (tmp_path / "rows.csv").write_text("\n".join(CSV.splitlines()[:2]) + "\n", encoding="utf-8")
    assert "Faster of two" not in cli(*command).out
