"""The page of a sweep: which choice is best, times along the axes, failures; from its rows."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli
from test_page import Reader

from gpusim.errors import SpecError
from gpusim.report.page import render_page
from gpusim.report.page_inputs import Inputs
from gpusim.report.sweep_page import sweep_page
from gpusim.spec.load import shipped
from gpusim.spec.sweep import Sweep, load_sweep
from gpusim.spec.sweep_text import sweep_text
from gpusim.study.sweep import run_sweep
from gpusim.study.sweep_axes import swept_axes
from gpusim.study.sweep_build import build_plan
from gpusim.study.sweep_summary import LISTED, VALUES, sweep_summary

HOSTILE = "<script>alert(1)</script> \"'& ünï日本 \u202e"
BASE = {
    "gpus": ["l40s"],
    "schedules": ["flash2"],
    "attention": {"q_heads": 8, "kv_heads": 2, "head_dim": 64},
    "sequences": [{"count": 2, "q_len": 1, "kv_len": 512}],
}
FILE = f"""\
name: {json.dumps(HOSTILE)}
engine: analytic
workload:
  gpus: [l40s, h100_sxm]
  schedules: [flash2, {{name: flash2_split_kv, num_splits: 2}}, santa_flash]
  attention: {{q_heads: 8, kv_heads: 2, head_dim: 128}}
  sequences: [{{count: 2, q_len: 1, kv_len: 512}}]
product:
  sequences[0].kv_len: [512, 1024, 40000]
  attention.head_dim: [128, 100]
"""


def sweep(product: dict[str, Any], **parts: Any) -> Sweep:
    """A sweep of some axes."""
    given = {"name": "a sweep", "engine": "analytic", "workload": BASE, "product": product}
    return Sweep.model_validate(given | parts)


def summary_of(swept: Sweep, times: list[float | str], folder: Path) -> dict[str, Any]:
    """The summary where the points take these times: a text is an error, below 0 is sampled."""
    file = folder / "rows.csv"
    lines = ["index,key,approximation,time_us,bound,tflops,hbm_gb_per_s,error"]
    for i, us in enumerate(times):
        if isinstance(us, str):
            lines += [f"{i},k,,,,,,{us}"] if us else []
        else:
            lines.append(f"{i},k,{'sampled' if us < 0 else ''},{abs(us)},hbm,1.0,2.0,")
    file.write_text("\n".join(lines) + "\n")
    return sweep_summary(build_plan(swept), file)


def page_text(summary: dict[str, Any]) -> str:
    """What a reader of the page sees."""
    page = Reader(render_page(sweep_page(summary, Inputs(command="c"), title="t")).decode())
    assert page.open == []
    assert json.loads(page.numbers)["results"] == summary
    return page.text.replace("\N{NO-BREAK SPACE}", " ")


TWO_BY_TWO = {"schedule": ["flash2", "lean"], "sequences[0].kv_len": [512, 2048]}


def test_the_best_choice_wins_most_problems_ties_included(tmp_path: Path) -> None:
    """flash2 takes 10 and 40 us, lean 20 and 40: both are best on 2048; over the best 1 and √2."""
    found = summary_of(sweep(TWO_BY_TWO), [10, 40, 20, 40], tmp_path)
    assert found["problems"] == 2
    rows = [(r["choice"]["schedule"], r["problems"], r["best_on"]) for r in found["choices"]]
    assert rows == [("flash2", 2, 2), ("lean", 2, 1)]
    assert [r["over_best"] for r in found["choices"]] == pytest.approx([1.0, 2**0.5])
    assert [(r["index"], r["time_us"]) for r in found["best"]] == [(0, 10.0), (1, 40.0)]
    text = page_text(found)
    assert "flash2 is the fastest on all 2 problems." in text
    assert (
        "The next is lean: the fastest on 1 of its 2 problems, and in the mean 1.41 times" in text
    )


def test_means_along_an_axis_are_of_points_alike_in_all_else(tmp_path: Path) -> None:
    """lean fails on 2048 and is left out of the means of the lengths; flash2 of schedules on it."""
    found = summary_of(sweep(TWO_BY_TWO), [10, 40, 20, "too long"], tmp_path)
    schedule, length = found["axes"]
    assert (schedule["axis"], schedule["alike"], length["alike"]) == ("schedule", 1, 1)
    assert [v["mean_us"] for v in schedule["values"]] == pytest.approx([10, 20])
    assert [v["mean_us"] for v in length["values"]] == pytest.approx([10, 40])
    assert [(v["ran"], v["failed"]) for v in length["values"]] == [(2, 0), (1, 1)]
    assert [v["slowest_us"] for v in length["values"]] == pytest.approx([20, 40])
    assert found["failed"] == {"rows": 1, "reasons": [{"rows": 1, "reason": "too long"}]}
    text = page_text(found)
    assert "One point (25 %) could not be predicted." in text
    assert "Points without a result, and why" in text


def test_a_value_that_never_ran_takes_no_mean_from_the_others(tmp_path: Path) -> None:
    axes = {"schedule": ["flash2", "lean"], "sequences[0].kv_len": [64, 128, 256, 512]}
    found = summary_of(sweep(axes), [1, "no", 3, 4, 5, "no", 7, 8], tmp_path)
    lengths = [value["mean_us"] for value in found["axes"][1]["values"]]
    assert lengths[1] is None
    assert [lengths[0], *lengths[2:]] == pytest.approx([5**0.5, 21**0.5, 32**0.5])
    line = [row["x"] for row in found["curves"] if row["choice"] == {"schedule": "lean"}]
    assert line == [64.0, 256.0, 512.0]
    assert "The next is lean: the fastest on none of its 3 problems" in page_text(found)


def test_sampled_answers_win_nothing_unless_there_are_no_others(tmp_path: Path) -> None:
    found = summary_of(sweep(TWO_BY_TWO), [10, 40, -1, -2], tmp_path)
    assert (found["ran"], found["compared"]) == (4, 2)
    assert [row["choice"]["schedule"] for row in found["choices"]] == ["flash2"]
    assert "2 points with an answer that is not exact attention stand in no" in page_text(found)
    alone = summary_of(sweep(TWO_BY_TWO), [-10, -40, -1, -2], tmp_path)
    assert alone["compared"] == 4
    assert "lean is the fastest on all 2 problems." in page_text(alone)


def test_one_problem_names_the_fastest_and_nothing_to_choose_a_range(tmp_path: Path) -> None:
    one = summary_of(sweep({"schedule": ["flash2", "lean"]}), [30, 20], tmp_path)
    assert "lean is the fastest: 20 µs." in page_text(one)
    assert "The next is flash2, which takes 1.50 times as long." in page_text(one)
    lengths = summary_of(sweep({"sequences[0].kv_len": [64, 128]}), [5, 7.5], tmp_path)
    assert "The 2 points take from 5 µs to 7.50 µs." in page_text(lengths)


@pytest.mark.parametrize(
    ("times", "said"),
    [
        (["no", "no", "no", "no"], "None of the 4 points has a result."),
        (["", "", "", ""], "The conditions leave no point to run."),
        (["", "no", 3.0, ""], "The only point takes 3 µs."),
    ],
)
def test_a_sweep_with_little_or_no_result_says_so(
    times: list[float | str], said: str, tmp_path: Path
) -> None:
    assert said in page_text(summary_of(sweep(TWO_BY_TWO), times, tmp_path))


def test_lines_run_along_axes_of_numbers_a_choice_each(tmp_path: Path) -> None:
    """A choice that failed anywhere on the axis has no line; along a number of the profile, which
    is a choice itself, lines are of the others.
    """
    lengths = {"schedule": ["flash2", "lean"], "sequences[0].kv_len": [64, 128, 256]}
    found = summary_of(sweep(lengths), [1, 2, 4, 3, "no", 5], tmp_path)
    points = [(row["choice"], row["x"]) for row in found["curves"]]
    assert points == [({"schedule": "flash2"}, x) for x in (64.0, 128.0, 256.0)]
    assert [row["y"] for row in found["curves"]] == pytest.approx([1, 2, 4])
    name = "gpu.hbm.sustained_gb_per_s"
    factors = {"schedule": ["flash2", "lean"], name: {"times": [1, 1.5, 2]}}
    found = summary_of(sweep(factors), [6, 4, 3, 9, 6, 5], tmp_path)
    assert found["problems"] == 1
    lines = {row["choice"]["schedule"] for row in found["curves"]}
    assert lines == {"flash2", "lean"}
    assert all(name not in row["choice"] for row in found["curves"])
    assert page_text(found).count("Time by gpu.hbm.sustained_gb_per_s") >= 2


def test_long_axes_and_many_problems_are_listed_evenly(tmp_path: Path) -> None:
    lengths = {"sequences[0].kv_len": {"from": 1, "to": 400, "step": 1}}
    found = summary_of(sweep(lengths), [float(i) for i in range(1, 401)], tmp_path)
    (axis,) = found["axes"]
    assert (axis["values_in_all"], len(axis["values"]), len(found["best"])) == (400, VALUES, LISTED)
    ends = [values[i] for values in (axis["values"], found["best"]) for i in (0, -1)]
    assert [end.get("value") for end in ends[:2]] == ["1", "400"]
    assert [end.get("index") for end in ends[2:]] == [0, 399]
    assert f"{LISTED} of 400, evenly spread" in page_text(found)


def test_every_combination_stands_where_its_values_are() -> None:
    lengths = {"sequences[0].kv_len": [64, 128, 256], "l2": ["cold", "warm"]}
    zipped = ({"sequences[0].count": [1, 2], "sequences[0].q_len": [1, 3]},)
    plan = build_plan(sweep(lengths, zip=zipped))
    axes = swept_axes(plan)
    assert [axis.fields for axis in axes] == [*((name,) for name in lengths), tuple(zipped[0])]
    for index in range(plan.size):
        point = plan.point(index)
        assert point is not None
        for axis in axes:
            said = axis.values[index // axis.stride % len(axis.values)]
            assert said == ", ".join(str(point.fields[field]) for field in axis.fields)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_the_page_is_of_all_rows_also_of_a_run_that_was_complete(
    suffix: str, cli: Cli, tmp_path: Path
) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    (tmp_path / "a.yaml").write_text(FILE, encoding="utf-8")
    command = ("sweep", "a.yaml", "--output", f"rows.{suffix}", "--workers", "1", "--report")
    assert cli(*command, "first.html").code == 0
    assert cli(*command, "again.html").code == 0
    first = (tmp_path / "first.html").read_text(encoding="utf-8")
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == first
    page = Reader(first)
    assert page.open == []
    assert "<script>alert" not in first
    held = json.loads(page.numbers)
    assert (held["results"]["rows"], held["results"]["failed"]["rows"]) == (36, 18)
    assert held["results"]["compared"] == 12
    assert set(held["inputs"]["profiles"]) == {"l40s", "h100_sxm"}
    assert held["inputs"]["command"] == f"gpusim sweep a.yaml --output rows.{suffix}"
    assert held["figures"]["axis-3"]


def test_csv_and_parquet_say_the_same(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    swept = sweep({"schedule": ["flash2", "lean"], "attention.head_dim": [64, 100]})
    found = []
    for name in ("rows.csv", "rows.parquet"):
        run_sweep(swept, tmp_path / name)
        found.append(sweep_summary(build_plan(swept), tmp_path / name))
    assert found[0] == found[1]
    with pytest.raises(SpecError, match=r"none\.csv: expected rows of a sweep, found"):
        sweep_summary(build_plan(swept), tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("report", "message"),
    [
        ("out.htm", "--report: expected a file with the suffix .html, found out.htm"),
        ("no/out.html", "--report: expected an existing folder, found no"),
        ("in.html", "--report: expected another file than the input"),
    ],
)
def test_a_page_in_the_wrong_place_is_refused_before_the_sweep_runs(
    report: str, message: str, cli: Cli, tmp_path: Path
) -> None:
    (tmp_path / "a.yaml").write_text(FILE, encoding="utf-8")
    (tmp_path / "in.html").symlink_to(tmp_path / "a.yaml")
    outcome = cli("sweep", "a.yaml", "--output", "rows.csv", "--report", report)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert message in outcome.err
    assert not (tmp_path / "rows.csv").exists()


@pytest.mark.parametrize("name", shipped("workloads/sweeps"))
def test_the_sweep_on_a_page_is_the_one_that_ran(name: str, tmp_path: Path) -> None:
    swept = load_sweep(name)
    (tmp_path / "copy.yaml").write_text(sweep_text(swept), encoding="utf-8")
    again = load_sweep(tmp_path / "copy.yaml")
    assert again == swept
    assert build_plan(again).digest == build_plan(swept).digest
