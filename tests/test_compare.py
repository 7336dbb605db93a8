"""`gpusim compare`: ranks, ratios, and reasons that the numbers of the results bear out."""

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli

import gpusim
from gpusim.result import Result
from gpusim.spec.workload import Workload
from gpusim.study.ranking import compare_workload
from gpusim.study.why import why

LONG = ("compare", "long_context_decode", "--gpu", "h100_sxm")
TWO = (*LONG, "--schedule", "flash2", "--schedule", "flash2_split_kv")
PLACE = ["options", "rank", "ratio", "why"]


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


def _rows(cli: Cli, *arguments: str) -> list[dict[str, Any]]:
    outcome = cli(*arguments, "--format", "json")
    assert outcome.code == 0, outcome.err
    rows: list[dict[str, Any]] = json.loads(outcome.out)
    return rows


def test_the_fastest_comes_first_and_ratios_refer_to_it(cli: Cli) -> None:
    rows = _rows(cli, *LONG)
    times = [row["time_us"] for row in rows]
    assert times == sorted(times)
    assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
    assert [row["ratio"] for row in rows] == [time / times[0] for time in times]
    assert rows[0]["why"] == ""
    assert all(row["why"] for row in rows[1:])


def test_every_workload_and_gpu_has_a_ranking_of_its_own(cli: Cli) -> None:
    gpus = ("--gpu", "a100_sxm_80gb", "--gpu", "h100_sxm")
    files = ("llama3_8b_decode", "long_context_decode")
    rows = _rows(cli, "compare", *files, *gpus, "--schedule", "flash2_split_kv")
    assert [row["rank"] for row in rows] == [1, 1, 1, 2, 1, 2]
    assert len({(row["workload"], row["gpu"]) for row in rows}) == 4
    titles = [line for line in cli("compare", *files, *gpus).out.splitlines() if ": " in line]
    assert sum(line.endswith((": a100_sxm_80gb", ": h100_sxm")) for line in titles) == 4


def test_every_schedule_that_applies_takes_part(cli: Cli) -> None:
    outcome = cli(*LONG, "--format", "json")
    ran = {row["schedule"] for row in json.loads(outcome.out)}
    skipped = {line.split(", ")[1].split(":")[0] for line in outcome.err.splitlines()}
    assert ran | skipped == set(gpusim.SCHEDULES)
    assert not ran & skipped


@pytest.mark.parametrize("engine", ["sim", "analytic"])
def test_the_numbers_are_those_of_simulate(engine: str, cli: Cli) -> None:
    arguments = ("--gpu", "h100_sxm", "--engine", engine)
    compared = _rows(cli, "compare", "long_context_decode", *arguments)
    for row in _rows(cli, "simulate", "long_context_decode", *arguments):
        (same,) = (
            r for r in compared if all(r[key] == row[key] for key in ("schedule", "options"))
        )
        assert {key: value for key, value in same.items() if key not in PLACE[1:]} == row


def test_a_schedule_may_take_part_twice(cli: Cli) -> None:
    rows = _rows(cli, *LONG, "--schedule", "flash2_split_kv")
    assert [row["options"] for row in rows] == [{}, {"num_splits": 8}]
    assert "flash2_split_kv num_splits=8 " in cli(*LONG).out


@pytest.mark.parametrize(
    ("baseline", "options"),
    [("flash2", {}), ("flash2_split_kv", {}), ("flash2_split_kv num_splits=8", {"num_splits": 8})],
)
def test_ratios_may_refer_to_a_baseline(baseline: str, options: dict[str, int], cli: Cli) -> None:
    rows = _rows(cli, *LONG, "--baseline", baseline)
    name = baseline.split()[0]
    (base,) = (r for r in rows if (r["schedule"], r["options"]) == (name, options))
    assert [row["ratio"] for row in rows] == [r["time_us"] / base["time_us"] for r in rows]
    assert f"/ {baseline}" in cli(*LONG, "--baseline", baseline).out


@pytest.mark.parametrize(
    ("baseline", "hint"),
    [
        ("falsh2", "did you mean 'flash2'?"),
        ("zzz", "known: flash2, flash2_split_kv"),
        ("", "known: flash2, flash2_split_kv"),
        ("standard", "known: flash2, flash2_split_kv"),
        ("flash2_split_kv num_splits=9", "did you mean 'flash2_split_kv num_splits=8'?"),
    ],
)
def test_a_baseline_that_does_not_run_is_a_mistake(baseline: str, hint: str, cli: Cli) -> None:
    outcome = cli(*TWO, "--baseline", baseline)
    assert (outcome.code, outcome.out) == (2, "")
    (line,) = outcome.err.splitlines()
    assert "baseline: expected " in line
    assert line.endswith(hint)


def test_csv_and_files_hold_what_the_screen_shows(cli: Cli, tmp_path: Path) -> None:
    rows = _rows(cli, *TWO)
    table = list(csv.DictReader(cli(*TWO, "--format", "csv").out.splitlines()))
    assert list(rows[0])[3:7] == list(table[0])[3:7] == PLACE
    assert [row["why"] for row in table] == [row["why"] for row in rows]
    assert [row["options"] for row in table] == ["", "num_splits=8", ""]
    for style in ("table", "json", "csv"):
        quiet = cli(*TWO, "--format", style, "--output", "out")
        assert (quiet.code, quiet.out) == (0, "")
        assert (tmp_path / "out").read_bytes() == cli(*TWO, "--format", style).out.encode()


def test_the_command_line_needs_no_pandas(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert cli(*TWO).code == 0


def test_a_gpu_that_no_schedule_runs_on_is_left_out(cli: Cli) -> None:
    gpus = ("--gpu", "a100_sxm_80gb", "--gpu", "h100_sxm", "--baseline", "flash2")
    outcome = cli("compare", "fp8_kv_decode", *gpus, "--format", "json")
    assert {row["gpu"] for row in json.loads(outcome.out)} == {"h100_sxm"}
    assert "left out: a100_sxm_80gb, flash2: " in outcome.err
    alone = cli("compare", "fp8_kv_decode", "--gpu", "a100_sxm_80gb")
    assert (alone.code, alone.out) == (2, "")
    assert alone.err.startswith("gpusim: fp8_kv_decode: expected a schedule that can take it")


def test_a_data_frame_has_a_row_for_each_of_json(cli: Cli) -> None:
    workload = gpusim.load_workload("long_context_decode")
    names = ["flash2", "flash2_split_kv"]
    frame = gpusim.compare(workload, gpus=["h100_sxm"], schedules=names, baseline="flash2")
    rows = _rows(cli, *TWO, "--baseline", "flash2")
    assert list(frame.columns)[3:7] == PLACE
    for key in ("schedule", "rank", "ratio", "why", "time_us", "bound", "waves"):
        assert list(frame[key]) == [row[key] for row in rows]
    assert list(frame["options"]) == ["", "num_splits=8", ""]
    assert {"flop.useful", "traffic.hbm_read_bytes", "occupancy.limiter"} <= set(frame.columns)
    assert "launches" not in frame.columns
    assert not frame.isna().any(axis=None)


def test_python_compares_attention_with_options_of_its_own() -> None:
    attention = gpusim.load_workload("llama3_8b_decode").attention
    gpu = gpusim.load_gpu("h100_sxm")
    choice = {"name": "flash2_split_kv", "num_splits": 2}
    frame = gpusim.compare(attention, [gpu], [choice, "flash2"], engine="analytic", l2="warm")
    times = dict(zip(frame["schedule"], frame["time_us"], strict=True))
    given: dict[str, dict[str, Any]] = {"flash2": {}, "flash2_split_kv": {"num_splits": 2}}
    for name, options in given.items():
        result = gpusim.simulate(attention, gpu, name, "analytic", l2="warm", **options)
        assert times[name] == result.time_us
    wrong: dict[str, Any]
    for wrong in ({"engine": "exact"}, {"l2": "hot"}, {"schedules": ["falsh2"]}):
        with pytest.raises(gpusim.SpecError, match="expected"):
            gpusim.compare(attention, **wrong)


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
    assert reason.startswith("padding: issues 32x the useful FLOP, best 16x; ")


def test_re_reads_are_named() -> None:
    reason = _reason(gpusim.load_workload("gpt2_prefill"), "a100_sxm_80gb", "standard", "flash2")
    assert reason.startswith("re-reads: HBM traffic 17x compulsory, best 1.0")


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
    assert why(slow, best) == "combine: an extra launch of 8.00 us; 100% of the loss"
    slower = replace(slow, time_us=116.0, launches=(*slow.launches, combine))
    assert why(slower, slow).startswith("combine: its launch takes 16.0 us, best 8.00 us; ")


def test_launch_gaps_are_named(result: Result) -> None:
    best = _made(result, 100.0, {"hbm": 1.0})
    half = replace(best.launches[0], time_us=50.0, gap_us=3.0)
    assert why(replace(best, time_us=106.0, launches=(half, half)), best) == (
        "launches: 2 gaps, best 0; 100% of the loss"
    )


@pytest.mark.parametrize(
    ("slow", "start"),
    [
        ({"hbm": 1.0}, "hbm: a full pipe for 100% of the time, "),
        ({"l2": 0.8, "hbm": 0.2}, "l2: a full pipe for 80% of the time, "),
        ({"exp2": 1.0}, "exp2: a full pipe, 90% busy, best 90%; "),
        ({"fp32": 1.0}, "fp32: exposed, 20% busy, best 20%; "),
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
