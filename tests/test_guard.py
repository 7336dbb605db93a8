"""No median error on the sample that the project carries grows by more than a tenth unseen."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from gpusim.errors import SpecError
from gpusim.study import aiconfigurator
from gpusim.study.predict_row import predict_row
from validation import guard
from validation.accuracy import FIT_SETS

RECORDED = {(m.dataset, m.engine): m for m in guard.recorded()}


@pytest.mark.parametrize("engine", guard.SCORED)
@pytest.mark.parametrize("dataset", guard.DATASETS)
def test_the_model_is_as_close_to_its_fit_sets_as_it_was(dataset: str, engine: str) -> None:
    now, then = guard.median_of(dataset, engine), RECORDED[dataset, engine]
    assert not guard.is_worse(now, then), (
        f"{dataset}, {engine}: median error {100 * now.median_ape:.2f} % of {now.rows} rows,"
        f" recorded {100 * then.median_ape:.2f} % of {then.rows};"
        " if that is meant: python -m validation.guard --write"
    )


def test_every_fit_set_has_a_sample_and_a_median_by_both_engines() -> None:
    assert set(guard.DATASETS) == {n for n in FIT_SETS if n.startswith(aiconfigurator.PREFIX)}
    assert list(RECORDED) == [(name, engine) for name in guard.DATASETS for engine in guard.SCORED]
    for name in guard.DATASETS:
        assert len(guard.carried(name)) == guard.ROWS >= max(guard.SCORED.values())


@pytest.mark.parametrize("dataset", [n for n in guard.DATASETS if "a100" in n])
def test_the_sample_is_what_its_seed_draws(dataset: str) -> None:
    if not aiconfigurator.is_installed():
        pytest.skip(aiconfigurator.INSTALL)
    drawn, carried = guard.drawn(dataset), guard.carried(dataset)
    if drawn[0].source != carried[0].source:
        pytest.skip(f"the sample is of {carried[0].source}, found {drawn[0].source}")
    assert drawn == carried


@pytest.mark.parametrize(
    ("rows", "median", "worse"), [(80, 0.0439, False), (80, 0.0441, True), (79, 0.04, True)]
)
def test_a_tenth_of_the_median_is_the_limit(rows: int, median: float, worse: bool) -> None:
    then = guard.Median("x/y", "sim", 80, 0.04)
    assert guard.is_worse(guard.Median("x/y", "sim", rows, median), then) == worse


def test_a_slower_model_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "aiconfigurator:a100_sxm/sglang"

    def slower(row, engine):  # type: ignore[no-untyped-def]
        prediction = predict_row(row, engine)
        assert not isinstance(prediction, str)
        return replace(prediction, predicted_us=1.05 * prediction.predicted_us)

    monkeypatch.setattr(guard, "predict_row", slower)
    assert guard.is_worse(guard.median_of(name, "analytic"), RECORDED[name, "analytic"])
    monkeypatch.setattr(guard, "predict_row", lambda *_: "no such type")
    with pytest.raises(SpecError, match="rows that can be predicted: no such type"):
        guard.median_of(name, "analytic")


def test_the_program_records_what_it_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "RECORDED", tmp_path / "medians.csv")
    monkeypatch.setattr(guard, "median_of", lambda d, e: guard.Median(d, e, 3, 0.04321))
    assert CliRunner().invoke(guard.main, []).exit_code == 0
    assert not (tmp_path / "medians.csv").exists()
    shown = CliRunner().invoke(guard.main, ["--write"]).stdout.splitlines()
    assert shown[0] == "aiconfigurator:a100_sxm/sglang, analytic, 3 rows: 4.32 %"
    assert len(shown) == len(guard.recorded()) == 8
    assert guard.recorded()[0] == guard.Median(guard.DATASETS[0], "analytic", 3, 0.04321)
    with (tmp_path / "medians.csv").open(encoding="utf-8") as file:
        assert next(csv.reader(file)) == ["dataset", "engine", "rows", "median_ape"]
