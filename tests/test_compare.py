"""`gpusim compare`: ranks, ratios, baselines, and marks on what is not exact."""

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli

import gpusim

LONG = ("compare", "long_context_decode", "--gpu", "h100_sxm")
TWO = (*LONG, "--schedule", "flash2", "--schedule", "flash2_split_kv")
PLACE = ["options", "rank", "ratio", "why"]


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
    exact = [row["schedule"] for row in rows if not row["approximation"]]
    first = next(i for i, row in enumerate(rows) if row["schedule"] == exact[0])
    assert [row["ratio"] for row in rows] == [time / times[first] for time in times]
    assert not any(row["why"] for row in rows[: first + 1])
    assert all(row["why"] for row in rows[first + 1 :])


def test_approximate_answers_keep_their_place_but_are_marked_and_not_the_best(cli: Cli) -> None:
    rows = {row["schedule"]: row for row in _rows(cli, *LONG)}
    marks = {name: row["approximation"] for name, row in rows.items() if row["approximation"]}
    assert marks == {
        "flash3_fp8": "lower precision",
        "santa_flash": "sampled",
        "santa_prop": "sampled",
    }
    assert (rows["flash3_fp8"]["rank"], rows["flash3_fp8"]["why"]) == (1, "")
    assert rows["flash3_fp8"]["ratio"] < 1 == rows["flash3"]["ratio"]
    table = cli(*LONG).out
    assert "flash3_fp8 (lower precision) " in table
    assert "santa_flash (sampled) " in table
    assert "flash3 (" not in table
    (alone,) = _rows(cli, *LONG, "--schedule", "santa_flash")
    assert (alone["ratio"], alone["why"]) == (1, "")


def test_fp8_is_exact_where_the_problem_is_in_fp8(cli: Cli, tmp_path: Path) -> None:
    """16-bit queries over an FP8 cache are rounded by FlashAttention-3, and by nobody else."""
    text = "{name: x, gpus: [h100_sxm], attention: {q_heads: 8, kv_heads: 8, head_dim: 128, %s},"
    text += " sequences: [{q_len: 1, kv_len: 1024}]}"
    (tmp_path / "all.yaml").write_text(text % "dtype: fp8")
    (tmp_path / "cache.yaml").write_text(text % "dtype: bf16, kv_dtype: fp8")
    for name, mark in (("all.yaml", ""), ("cache.yaml", "lower precision")):
        rows = {row["schedule"]: row["approximation"] for row in _rows(cli, "compare", name)}
        assert rows.pop("flash3_fp8") == mark
        assert not any(rows.values())
    assert {"flash2_split_kv", "lean"} <= rows.keys()


def test_a_sampled_schedule_is_credited_with_the_rows_it_reads() -> None:
    """QKᵀ in full, and 2048 of 131072 value rows a head at even weights."""
    attention = gpusim.load_workload("long_context_decode").attention
    gpu, pairs = gpusim.load_gpu("h100_sxm"), 32 * 131072
    exact = gpusim.simulate(attention, gpu, "flash3")
    sampled = gpusim.simulate(attention, gpu, "santa_flash", samples=2048, logit_sigma=0.0)
    assert exact.useful_flop == 2 * 2 * 128 * pairs
    assert sampled.useful_flop == pytest.approx(2 * 128 * pairs + 2 * 128 * 32 * 2048)


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


def test_a_line_of_what_was_left_out_names_the_schedule_once(cli: Cli, tmp_path: Path) -> None:
    text = "{name: x, gpus: [a100_sxm_80gb], schedules: [flash2, {name: gpusim_triton_flash3}],"
    text += " attention: {q_heads: 8, kv_heads: 8, head_dim: 128},"
    text += " sequences: [{q_len: 1, kv_len: 1024}]}"
    (tmp_path / "x.yaml").write_text(text.replace("[flash2", "[{name: flash2}"))
    lines = cli("compare", "x.yaml", "--engine", "analytic").err.splitlines()
    name = "gpusim_triton_flash3"
    assert (
        f"left out: a100_sxm_80gb, {name}: expected a GPU with warpgroup instructions, found"
        in (lines[0])
    )
    for line in lines:
        schedule = line.split(", ")[1].split(":")[0]
        assert line.count(schedule) == 1
        assert "schedule " not in line


def test_an_option_of_a_schedule_without_options_is_refused_as_such(
    cli: Cli, tmp_path: Path
) -> None:
    text = "{name: x, schedules: [{name: gpusim_triton_flash2_split_kv, num_splits: 4}],"
    text += " attention: {q_heads: 8, kv_heads: 8, head_dim: 128},"
    text += " sequences: [{q_len: 1, kv_len: 1024}]}"
    (tmp_path / "x.yaml").write_text(text)
    for command in ("compare", "simulate"):
        outcome = cli(command, "x.yaml")
        assert (outcome.code, outcome.out) == (2, "")
        where = "x.yaml: schedules[0].num_splits"
        assert outcome.err == f"gpusim: {where}: expected no options, the schedule takes none\n"


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
