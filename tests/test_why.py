"""Why a schedule loses: one line that the numbers of the results bear out."""

from dataclasses import replace
from typing import Any

import pytest

import gpusim
from gpusim.result import Result
from gpusim.spec.workload import Workload
from gpusim.study.ranking import compare_workload
from gpusim.study.why import why


@pytest.fixture(scope="module")
def result() -> Result:
    """Some result, to make others of."""
    workload = gpusim.load_workload("llama3_8b_decode")
    return gpusim.simulate(workload.attention, gpusim.load_gpu("a100_sxm_80gb"), "flash2")


def _made(result: Result, time_us: float, breakdown: dict[str, float], **changes: Any) -> Result:
    """A result of one launch without a gap, with this time by cause."""
    launch = replace(
        result.launches[0], time_us=time_us, gap_us=0.0, breakdown=breakdown, **changes
    )
    return replace(result, time_us=time_us, breakdown=breakdown, launches=(launch,))


def _reason(workload: Workload, gpu: str, *schedules: str | dict[str, Any]) -> str:
    """Why the last of the schedules loses."""
    found = compare_workload(workload, gpus=[gpusim.load_gpu(gpu)], schedules=schedules)
    return found.entries[-1].why


def test_few_ctas_are_named() -> None:
    workload = gpusim.load_workload("long_context_decode")
    reason = _reason(workload, "h100_sxm", "flash2", "flash2_split_kv")
    assert reason.startswith("unfilled: only 8 CTAs for 264 slots; ")


def test_padding_is_named() -> None:
    workload = gpusim.load_workload("llama3_8b_decode")
    reason = _reason(workload, "a100_sxm_80gb", "flash2", "flash2_split_kv")
    assert reason.startswith("padding: issues 2.00x the FLOP of the best, 32x the useful; ")


def test_re_reads_are_named() -> None:
    reason = _reason(gpusim.load_workload("gpt2_prefill"), "a100_sxm_80gb", "standard", "flash2")
    assert reason.startswith("re-reads: moves 17x the HBM bytes of the best, 17x compulsory; ")


def test_a_tail_after_many_waves_is_named(result: Result) -> None:
    best = _made(result, 100.0, {"tensor": 0.9, "tail": 0.1})
    slow = _made(result, 160.0, {"tensor": 0.59, "tail": 0.41}, waves=7.2)
    assert why(slow, best) == (
        "tail: 41% of the slots idle while the last CTAs run (7.20 waves); 93% of the loss"
    )


def test_an_extra_combine_is_named(result: Result) -> None:
    best = _made(result, 100.0, {"hbm": 1.0})
    combine = replace(result.launches[0], name="combine", time_us=6.0, gap_us=2.0)
    slow = replace(best, time_us=108.0, launches=(*best.launches, combine))
    assert why(slow, best) == "combine: an extra launch of 8.00 us; all of the loss"
    slower = replace(slow, time_us=116.0, launches=(*slow.launches, combine))
    assert why(slower, slow).startswith("combine: its launch takes 16.0 us, best 8.00 us; ")


def test_launch_gaps_are_named(result: Result) -> None:
    best = _made(result, 100.0, {"hbm": 1.0})
    half = replace(best.launches[0], time_us=50.0, gap_us=3.0)
    assert why(replace(best, time_us=106.0, launches=(half, half)), best) == (
        "launches: 2 gaps, best 0; all of the loss"
    )
    gap = replace(best.launches[0], time_us=97.0, gap_us=3.0)
    best = replace(best, launches=(gap,))
    longer = replace(best, time_us=106.0, launches=(replace(gap, gap_us=9.0),))
    assert why(longer, best) == "launches: gaps of 9.00 us, best 3.00 us; all of the loss"


@pytest.mark.parametrize(
    ("slow", "start"),
    [
        ({"hbm": 1.0}, "hbm: a full pipe for 100% of the time, "),
        ({"l2": 0.8, "hbm": 0.2}, "l2: a full pipe for 80% of the time, "),
        ({"exp2": 1.0}, "exp2: a full pipe, 90% busy, best 90%; "),
        ({"fp32": 1.0}, "fp32: 20% busy, best 20%; "),
        (
            {"fix_up": 0.6, "tensor": 0.4},
            "fix_up: waiting for peers and merging their results, 60% ",
        ),
        ({"cta_latency": 0.4, "load_latency": 0.3, "tensor": 0.3}, "latency: start of CTAs and "),
        ({"sync": 0.6, "tensor": 0.4}, "sync: barriers and load waits, 60% of the slots' time, "),
        ({"novel": 0.6, "tensor": 0.4}, "novel: 60% of the slots' time, best 0%; "),
    ],
)
def test_other_causes_are_named(slow: dict[str, float], start: str, result: Result) -> None:
    busy = {"exp2": 0.9, "fp32": 0.2, "tensor": 0.5}
    best = _made(result, 100.0, {"tensor": 0.5, "hbm": 0.5}, pipe_utilisation=busy)
    assert why(_made(result, 200.0, slow, pipe_utilisation=busy), best).startswith(start)


def test_slots_that_stay_empty_while_memory_is_full_are_no_reason(result: Result) -> None:
    best = _made(result, 100.0, {"hbm": 1.0})
    slow = _made(result, 120.0, {"hbm": 0.45, "unfilled": 0.45, "tail": 0.1})
    assert why(slow, best).startswith("tail: 10% of the slots")


def test_no_reason_is_made_up_for_a_tie(result: Result) -> None:
    assert why(result, result) == ""
    assert why(replace(result), result) == "as fast as the best"


def test_half_the_bytes_of_another_type_are_named(result: Result) -> None:
    """Both move no more than compulsory, but the best moves half: it is compared in bytes."""
    least = result.compulsory_bytes
    read = {"hbm_read_bytes": least, "hbm_write_bytes": 0.0}
    half = {"hbm_read_bytes": least / 2, "hbm_write_bytes": 0.0}
    best = replace(_made(result, 100.0, {"hbm": 1.0}, **half), compulsory_bytes=least / 2)
    assert why(_made(result, 196.0, {"hbm": 1.0}, **read), best) == (
        "traffic: moves 2.00x the HBM bytes of the best, 1.00x compulsory; all of the loss"
    )


def test_flop_are_compared_only_if_both_issue_some_on_tensor_cores(result: Result) -> None:
    busy = {"tensor": 0.9, "fp32": 0.1}
    without = _made(result, 100.0, {"fp32": 1.0}, issued_flop=0.0, pipe_utilisation={"fp32": 0.9})
    slow = _made(result, 200.0, {"tensor": 1.0}, pipe_utilisation=busy)
    assert why(slow, without).startswith("tensor: a full pipe, 90% busy, best 0%; ")


def test_a_reason_may_cost_more_than_is_lost(result: Result) -> None:
    """Bytes that take 100 us more, of which a better shape wins 50 back."""
    best = _made(result, 100.0, {"tail": 0.6, "hbm": 0.4}, hbm_read_bytes=4e7)
    slow = _made(result, 150.0, {"hbm": 1.0}, hbm_read_bytes=1.5e8)
    assert why(slow, best).endswith("; more than all of the loss")


def test_what_is_faster_than_the_best_needs_no_reason(result: Result) -> None:
    assert why(_made(result, 100.0, {"hbm": 1.0}), _made(result, 200.0, {"hbm": 1.0})) == ""
