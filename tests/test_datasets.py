"""Datasets by name: what is known, what is missing, and the rows that ship with gpusim."""

import shutil
import tomllib
from pathlib import Path

import pytest
from conftest import Cli

from gpusim.spec.load import shipped
from gpusim.study import aiconfigurator, datasets
from gpusim.study.measured import MeasuredRow
from gpusim.study.validate import validate

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def without_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aiconfigurator, "find_spec", lambda _: None)


def _published() -> list[MeasuredRow]:
    rows, left_out = datasets.read_named("published")
    assert not left_out
    return rows


@pytest.mark.usefixtures("without_extra")
@pytest.mark.parametrize("arguments", [(), ("nothing",)])
def test_known_datasets_are_listed_without_the_extra(arguments: tuple[str, ...], cli: Cli) -> None:
    outcome = cli("validate", *arguments)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert "known: published, triton:" in outcome.err
    assert "aiconfigurator:SYSTEM/FRAMEWORK (after pip install 'gpusim[measurements]')" in (
        outcome.err
    )


def test_installed_datasets_are_listed_by_name(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "l40s/attention/vllm/0.24.0").mkdir(parents=True)
    monkeypatch.setattr(aiconfigurator, "_folder", lambda: tmp_path)
    assert "aiconfigurator:l40s/vllm" in cli("validate").err
    near = cli("validate", "aiconfig:l40s/vllm").err
    assert "did you mean 'aiconfigurator:l40s/vllm'?; known: published, " in near


def test_a_misspelt_dataset_names_the_nearest(cli: Cli) -> None:
    outcome = cli("validate", "publishd")
    assert outcome.code == 2
    assert "expected a CSV file or a dataset; did you mean 'published'?" in outcome.err


def test_help_names_the_datasets(cli: Cli) -> None:
    text = cli("validate", "--help").out
    assert all(name in text for name in ("published", "triton:GPU", "aiconfigurator:"))


def test_rows_that_nobody_measured_say_how_to(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    _measured_in(tmp_path, monkeypatch)
    outcome = cli("validate", "triton:l40s")
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert "triton:l40s: expected rows measured on this GPU, found none yet" in outcome.err
    assert "python -m validation.measure --gpu l40s" in outcome.err
    unknown = cli("validate", "triton:l40")
    assert unknown.code == 2
    assert "triton:l40: expected the name of a GPU, found 'l40'; did you mean 'l40s'?" in (
        unknown.err
    )


def test_measured_rows_are_found_by_the_name_of_their_gpu(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    _measured_in(tmp_path, monkeypatch)
    some = shipped("validation/published", ".csv")["tritonbench"]
    shutil.copy(some, tmp_path / "triton_h100_sxm.csv")
    (tmp_path / "notes.csv").write_text("not rows\n", encoding="utf-8")
    rows, _ = datasets.read_named("triton:h100_sxm")
    assert rows
    assert "known: published, triton:h100_sxm" in cli("validate").err


def _measured_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the folder of measured rows be another one."""

    def found(kind: str, suffix: str = ".yaml") -> dict[str, Path]:
        if kind == "validation/measured":
            return {path.stem: path for path in sorted(folder.glob(f"*{suffix}"))}
        return shipped(kind, suffix)

    monkeypatch.setattr(datasets, "shipped", found)


def test_both_folders_ship_where_they_are_looked_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    for folder in ("validation/published", "validation/measured"):
        assert included[folder] == f"gpusim/_shipped/{folder}"
        assert (ROOT / folder).is_dir()


def test_published_rows_are_of_one_gpu_and_source_each() -> None:
    for path in shipped("validation/published", ".csv").values():
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(set(lines)) == len(lines), path
    for row in _published():
        assert row.gpu in shipped("hardware")
        assert any(mark in row.source for mark in ("arXiv", ".com/", ".org/")), row.source


def test_published_rates_become_times_as_their_source_counts_flop() -> None:
    times = {
        (row.source.split("; ")[0].split(", ", 1)[1], _problem(row)): row.measured_us
        for row in _published()
        if row.kernel == "flash_attn_3"
    }
    figure5, figure9, table2 = (
        f"arXiv 2407.08608, {n}" for n in ("figure 5", "figure 9", "table 2")
    )
    # 648 and 616 TFLOP/s, the second at half the FLOP of all pairs; 2.339 TFLOP in 3.538 ms.
    flop = 4 * 16384**2 * 2048
    assert times[figure5, (1, 16384, 128, "fp16", False)] == pytest.approx(flop / 648e6, rel=1e-4)
    assert times[figure5, (1, 16384, 128, "fp16", True)] == pytest.approx(
        flop / 2 / 616e6, rel=1e-4
    )
    assert times[table2, (4, 8448, 128, "fp16", False)] == 3538
    # FP8 lengths above 4k are multiples of 132, so that batches hold a little over 16k tokens.
    assert (4, 4224, 64, "fp8", False) in {problem for name, problem in times if name == figure9}


def _problem(row: MeasuredRow) -> tuple[int, int, int, str, bool]:
    attention, sequence = row.attention, row.attention.sequences[0]
    return (
        sequence.count,
        sequence.q_len,
        attention.head_dim,
        attention.dtype,
        attention.causal,
    )


def test_published_rows_are_all_predicted_and_none_beats_the_roofline() -> None:
    found = validate(["published"], engine="analytic", workers=1)
    assert not found.refused
    assert {p.row.kernel for p in found.predictions} == {"standard", "flash_attn_2", "flash_attn_3"}
    for prediction in found.predictions:
        assert prediction.roofline_us < prediction.row.measured_us, prediction.row
