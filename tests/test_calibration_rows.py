"""The recorded rows that shipped constants are fitted to, and how such a list is drawn."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gpusim.study.measured import MeasuredRow, attention_of
from gpusim.study.measured_csv import read_measured
from validation.accuracy import FIT_SETS
from validation.calibration.__main__ import FOLDER, ROWS
from validation.calibration.sample import DATASETS, is_wanted, recorded, spread


def made(batch: int, *, phase: str = "decode", us: float = 1.0, dtype: str = "bf16") -> MeasuredRow:
    """A row that differs in what a sample is drawn by."""
    values: dict[str, Any] = {"batch": batch, "q_len": 1, "kv_len": 64, "q_heads": 8, "kv_heads": 8}
    values |= {"head_dim": 128, "dtype": dtype, "causal": True}
    return MeasuredRow(
        gpu="l40s",
        kernel="vllm_flash_attn_2",
        phase=phase,
        l2="warm",
        measured_us=us,
        source="a test",
        attention=attention_of(values, "a test"),
        calls=(6, 12),
    )


@pytest.mark.parametrize("gpu", DATASETS)
def test_recorded_rows_are_those_that_a_gpu_may_be_fitted_to(gpu: str) -> None:
    rows = read_measured(FOLDER / f"{gpu}.csv")
    assert len(rows) == pytest.approx(ROWS, rel=0.15)
    assert {row.gpu for row in rows} == {gpu}
    assert all(is_wanted(row) and row.calls and row.l2 == "warm" for row in rows)
    assert set(Counter(row.phase for row in rows)) == {"prefill", "decode"}
    assert all(FIT_SETS[name] == "fit" for name in DATASETS[gpu])
    assert [recorded(row) for row in rows] == rows


def test_every_phase_and_batch_has_as_many_rows() -> None:
    rows = [made(batch, us=1 + i) for batch in (1, 8) for i in range(50)]
    rows += [made(1, phase="prefill", us=100 + i) for i in range(3)]
    drawn = spread(rows, 30, seed=0)
    groups = Counter((row.phase, row.attention.sequences[0].count) for row in drawn)
    assert groups == {("decode", 1): 10, ("decode", 8): 10, ("prefill", 1): 3}
    assert [row.measured_us for row in drawn] == [r.measured_us for r in rows if r in drawn]
    assert drawn == spread(rows, 30, seed=0) != spread(rows, 30, seed=1)


def test_eight_bit_rows_are_not_drawn() -> None:
    assert is_wanted(made(1))
    assert not is_wanted(made(1, dtype="fp8"))


def test_a_row_keeps_its_calls_in_a_file(tmp_path: Path) -> None:
    row = recorded(made(2, us=123.45678))
    names, values = row.as_row().keys(), row.as_row().values()
    path = tmp_path / "rows.csv"
    path.write_text(f"{','.join(names)}\n{','.join(map(str, values))}\n", encoding="utf-8")
    assert read_measured(path) == [row]
    assert (row.measured_us, row.as_row()["calls_before"]) == (123.46, 6)
    assert row.as_row()["calls_timed"] == 6
