"""`gpusim calibrate`: constants from rows that were predicted with constants known."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli

from gpusim.spec.gpu import Gpu
from gpusim.spec.load import load_gpu, shipped
from gpusim.spec.provenance import Kind
from gpusim.study.calibrate import fields_of
from gpusim.study.calibrated import Constant, consequences, leaves
from gpusim.study.calibration_rows import held_back
from gpusim.study.fit import Verdict
from gpusim.study.measured import MeasuredRow, attention_of
from gpusim.study.predict_row import Prediction, predict_row

#: The board that the rows come from: neither number is the profile's.
TRUE = {"cta.latency_ns": 1800.0, "hbm.sustained_gb_per_s": 650.0}
ONLY = (*TRUE, "clock.power_limit_delay_s")


def true_board() -> Gpu:
    """An L40S with other constants."""
    return load_gpu("l40s").replaced(TRUE)


def row(batch: int, kv_len: int, gpu: Gpu) -> MeasuredRow:
    """A decode step, as this board would take it."""
    values: dict[str, Any] = {
        "batch": batch,
        "q_len": 1,
        "kv_len": kv_len,
        "q_heads": 8,
        "kv_heads": 8,
    }
    values |= {"head_dim": 128, "dtype": "bf16", "causal": True, "page_size": 64}
    made = MeasuredRow(
        gpu="l40s",
        kernel="vllm_flash_attn_2",
        phase="decode",
        l2="cold",
        measured_us=1.0,
        source="a test",
        attention=attention_of(values, "a test"),
    )
    found = predict_row(made, "analytic", profile=lambda _: gpu)
    assert isinstance(found, Prediction)
    return MeasuredRow(
        **{n: getattr(made, n) for n in ("gpu", "kernel", "phase", "l2", "source", "attention")},
        measured_us=found.predicted_us,
    )


def write_rows(path: Path, rows: list[dict[str, Any]]) -> str:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path.name


@pytest.fixture
def rows(tmp_path: Path) -> str:
    """Short steps that latency bounds, long ones that the memory bounds."""
    gpu = true_board()
    shapes = [(batch, kv_len) for batch in (1, 4, 64) for kv_len in (64, 256, 4096, 16384)]
    return write_rows(tmp_path / "rows.csv", [row(*shape, gpu).as_row() for shape in shapes])


def test_constants_of_the_board_behind_the_rows_are_found(
    rows: str, cli: Cli, tmp_path: Path
) -> None:
    found = cli(
        *("calibrate", rows, "--gpu", "l40s", "--only", ",".join(ONLY), "--workers", "1"),
        *("--format", "json", "--output", "mine.yaml"),
    )
    assert (found.code, found.err) == (0, "")
    report = json.loads(found.out)
    assert report["rows"] == {"fitted": 10, "held_back": 2}
    constants = {constant["field"]: constant for constant in report["constants"]}
    assert constants.keys() == set(ONLY)
    for field, value in TRUE.items():
        assert constants[field]["after"] == pytest.approx(value, rel=0.03)
        assert constants[field]["verdict"] == "determined"
    stays = constants["clock.power_limit_delay_s"]
    assert (stays["verdict"], stays["after"]) == ("not determined", stays["before"])
    before, after = (report["errors"]["held_back"][when] for when in ("before", "after"))
    assert after["median_ape"] < 0.02 < before["median_ape"]

    mine, base = load_gpu(tmp_path / "mine.yaml"), load_gpu("l40s")
    assert mine.name == "mine"
    assert {f for f in base.provenance if mine.value(f) != base.value(f)} == set(TRUE)
    for field in TRUE:
        assert mine.value(field) == constants[field]["after"]
        origin = mine.provenance[field]
        assert origin.kind is Kind.CALIBRATED
        assert origin.source.startswith("gpusim calibrate rows.csv, 10 of 12 rows: +-")
        assert (origin.nominal, origin.bounds) == (
            base.provenance[field].nominal,
            base.provenance[field].bounds,
        )
    assert mine.uncalibrated().hbm == base.uncalibrated().hbm
    again = cli(
        *("calibrate", rows, "--gpu", "mine.yaml", "--only", "cta.latency_ns", "--workers", "1")
    )
    assert again.code == 0
    assert "cta.latency_ns" in again.out


def test_a_table_names_what_the_rows_do_not_determine(rows: str, cli: Cli) -> None:
    found = cli(
        *("calibrate", rows, "--gpu", "l40s", "--only", "clock.power_limit_delay_s"),
        *("--workers", "1"),
    )
    (line,) = [text for text in found.out.splitlines() if "clock.power_limit_delay_s" in text]
    assert "do not determine it: it stays" in line
    assert "held back" in found.out


def test_what_cannot_be_calibrated_is_said_and_nothing_is_written(
    rows: str, cli: Cli, tmp_path: Path
) -> None:
    text = (tmp_path / rows).read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    (tmp_path / "three.csv").write_text("".join(lines[:4]), encoding="utf-8")
    (tmp_path / "bad.csv").write_text(text.replace("16384", "many"), encoding="utf-8")
    (tmp_path / "other.csv").write_text(text.replace("l40s", "h100_sxm"), encoding="utf-8")
    cases = {
        (
            "three.csv",
            "l40s",
        ): "three.csv: expected at least 4 rows that can be predicted, each of another call,"
        " found 3",
        ("bad.csv", "l40s"): "column kv_len: expected an integer, found 'many'",
        ("other.csv", "l40s"): "other.csv: expected rows of l40s, found 12 of h100_sxm",
        (rows, "rtx_6000_ada"): "rows.csv: expected rows of rtx_6000_ada, found 12 of l40s",
        (rows, "l4s"): "did you mean 'l40s'?",
        ("none.csv", "l40s"): "none.csv: expected",
        (rows, "l40s", "--only", "cta.latency"): "did you mean 'cta.latency_ns'?",
        (
            rows,
            "l40s",
            "--only",
            "sm.count",
        ): "--only: expected numbers with bounds, found sm.count",
        (rows, "l40s", "--only", ""): "--only: expected numbers with bounds, found",
    }
    for (source, gpu, *rest), message in cases.items():
        found = cli("calibrate", source, "--gpu", gpu, *rest, "--output", "out.yaml")
        assert (found.code, found.out) == (2, ""), found
        assert message in found.err
        assert len(found.err.splitlines()) == 1
    assert not (tmp_path / "out.yaml").exists()


def test_all_rows_of_a_call_are_held_back_or_none() -> None:
    held = held_back([*"abcdefghij", *"abcdefghij"], seed=0)
    assert held[:10].sum() == 2
    assert held[:10].tolist() == held[10:].tolist()


def test_rows_are_not_written_over(rows: str, cli: Cli, tmp_path: Path) -> None:
    before = (tmp_path / rows).read_bytes()
    found = cli("calibrate", rows, "--gpu", "l40s", "--output", rows)
    assert (found.code, (tmp_path / rows).read_bytes()) == (2, before)
    assert "--output: expected another file than the input" in found.err


@pytest.mark.parametrize("name", shipped("hardware"))
def test_what_is_calibrated_or_estimated_within_bounds_is_fitted(name: str) -> None:
    gpu = load_gpu(name)
    fitted = fields_of(gpu)
    calibrated = [f for f, origin in gpu.provenance.items() if origin.kind is Kind.CALIBRATED]
    of_products = {field for field in calibrated if field.startswith("gemm.")}
    assert set(calibrated) - of_products <= set(fitted)
    assert not of_products & set(fitted)  # attention rows tell nothing of them
    assert len(fitted) <= 12
    measured = [f for f, o in gpu.provenance.items() if o.kind is Kind.MEASURED and o.bounds]
    measured = [field for field in measured if not field.startswith("gemm.")]
    assert not set(measured) & set(fitted)
    assert fields_of(gpu, measured) == measured or not measured


def test_a_steady_clock_gives_way_to_the_clock_of_benchmarks() -> None:
    gpu = load_gpu("l40s")
    assert consequences(gpu, {"clock.benchmark_mhz": 2000.0})["clock.steady_mhz"] == 2000
    assert "clock.steady_mhz" not in consequences(gpu, {"clock.benchmark_mhz": 2450.0})
    assert consequences(gpu, {"l2.miss_mib": 51.0})["l2.hit_mib"] == 50


def test_a_number_that_followed_is_written_as_an_estimate() -> None:
    base = load_gpu("l40s")
    clock = Constant(
        field="clock.benchmark_mhz",
        meaning="",
        before=2520,
        after=2000,
        error=0.01,
        verdict=Verdict.DETERMINED,
        low=1890,
        high=2520,
    )
    after = base.replaced(consequences(base, {"clock.benchmark_mhz": 2000.0}))
    found = leaves(base, base, after, [clock], "rows")
    assert found.keys() == {"clock.benchmark_mhz", "clock.steady_mhz"}
    steady = found["clock.steady_mhz"]
    assert (steady["value"], steady["kind"]) == (2000, "estimated")
    assert steady["nominal"]["value"] == 2520
    assert found["clock.benchmark_mhz"]["source"] == "gpusim calibrate rows: +-1.0 %"


def test_uncalibrated_is_a_start_too(rows: str, cli: Cli) -> None:
    found = cli(
        *("calibrate", rows, "--gpu", "l40s", "--uncalibrated", "--only", "cta.latency_ns"),
        *("--workers", "1", "--format", "csv"),
    )
    (line,) = csv.DictReader(found.out.splitlines())
    profile = load_gpu("l40s")
    assert float(line["before"]) == profile.uncalibrated().cta.latency_ns != profile.cta.latency_ns
