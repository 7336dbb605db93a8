"""What is measured, in which order, and the file of its rows. No kernel runs."""

import csv
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from gpusim.errors import SpecError
from gpusim.schedules.implementations import IMPLEMENTATIONS
from gpusim.spec.load import load_gpu
from gpusim.study.measured import MeasuredRow
from validation.measuring import shapes
from validation.measuring.cases import Case, find_cases, identity
from validation.measuring.estimate import START_S, estimated_s
from validation.measuring.rows import HEADER, add_row, mend, read_rows
from validation.measuring.shapes import OWN

H200 = load_gpu("h200_sxm")


def test_every_kernel_of_the_project_is_measured() -> None:
    own = {name for name in IMPLEMENTATIONS if name.startswith(shapes.OWN)}
    assert set(shapes.KERNELS) == own
    assert len(shapes.KERNELS) == len(own)


def test_a_full_run_takes_ten_minutes_and_begins_with_a_bit_of_everything() -> None:
    full = find_cases(H200, shapes.KERNELS, "warm")
    assert 900 < len(full.cases) < 1500
    assert START_S + estimated_s(full.cases, "warm") < 10 * 60
    assert START_S + estimated_s(full.cases, "cold") < 10 * 60
    assert len({identity(case.row(H200, "warm")) for case in full.cases}) == len(full.cases)
    quick = full.shortened()
    assert 60 < estimated_s(quick.cases, "warm") < 180
    assert full.cases[: len(quick.cases)] == quick.cases
    first = full.cases[:60]
    assert {case.kernel for case in first} == set(shapes.KERNELS)
    assert len({case.attention.sequences[0].kv_len for case in first}) >= 6
    assert {case.attention.head_dim for case in first} == {64, 128}


def test_what_does_not_fit_or_takes_too_long_is_left_out_with_its_reason() -> None:
    kernels = [OWN + name for name in ("flash1", "flash3", "lean")]
    small = find_cases(load_gpu("l40s"), kernels, "warm").left_out
    assert small[OWN + "flash3", "expected a GPU with warpgroup instructions, found l40s"] == 144
    assert small[OWN + "lean", "would not fit in 48.3 GB"] > 0
    assert small[OWN + "flash1", "predicted to take more than 200 ms a call"] == 1


def rows_of(cases: list[Case]) -> list[MeasuredRow]:
    return [case.row(H200, "warm") for case in cases]


def test_a_rerun_begins_neither_with_a_kernel_nor_with_a_shape_that_failed() -> None:
    flash, santa, lean = kernels = [OWN + name for name in ("flash2", "santa_flash", "lean")]
    full = find_cases(H200, kernels, "warm")
    own = {kernel: [case for case in full.cases if case.kernel == kernel] for kernel in kernels}
    assert [case.kernel for case in full.cases[:6]] == kernels * 2
    assert full.without([], H200, "warm").cases == full.cases
    again = full.without(rows_of(own[flash][:3] + own[santa][:2]), H200, "warm")
    assert [case.kernel for case in again.cases[:4]] == [flash, santa] * 2
    assert [case.kernel for case in again.cases[-len(own[lean]) :]] == [lean] * len(own[lean])
    assert again.cases[0] != own[flash][3]
    assert again.cases[1] != own[santa][2]
    left = {identity(case.row(H200, "warm")) for case in again.cases}
    assert len(left) == len(again.cases) == len(full.cases) - 5
    new = {(flash, "measured before"): 3, (santa, "measured before"): 2}
    assert again.left_out - full.left_out == Counter(new)


def test_a_broken_header_is_made_whole(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    for content in (b"", HEADER[:10], HEADER[:-1]):
        path.write_bytes(content)
        assert read_rows(path) == []
        mend(path)
        assert path.read_bytes() == HEADER
        assert read_rows(path) == []


def test_a_row_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    cases = find_cases(H200, [OWN + "santa_prop"], "cold").cases
    rows = [case.row(H200, "cold", measured_us=0.125, source='a, "b"') for case in cases]
    mend(path)
    for row in rows:
        add_row(path, row)
    assert read_rows(path) == rows
    header, *lines = csv.reader(path.read_text().splitlines())
    assert len(lines) == len(rows)
    assert all(len(line) == len(header) for line in lines)


def test_a_file_that_cannot_be_read_or_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="expected a readable file, found: Is a directory"):
        read_rows(tmp_path)
    with pytest.raises(SpecError, match="expected to write to it, found: No such file"):
        mend(tmp_path / "none" / "rows.csv")


def test_a_dry_run_of_everything_imports_neither_torch_nor_triton() -> None:
    code = (
        "import sys; from validation.measure import measure;"
        "measure(['--dry-run', '--gpu', 'h200_sxm'], standalone_mode=False);"
        "sys.exit(bool({'torch', 'triton'} & set(sys.modules)))"
    )
    root = Path(__file__).resolve().parents[1]
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    ).stdout
    assert all(kernel in shown for kernel in shapes.KERNELS)
    assert "rows, L2 warm, in about " in shown
