"""Each kernel in a process of its own: whatever one does, the others are measured."""

import sys
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from interpreter import ARRAY_BOUNDS
from pretended import BAD, DEVICE, SILENT, Here, made

from gpusim.spec.load import load_gpu
from gpusim.study.measured_csv import read_measured
from validation import measure as command
from validation.measuring.cases import QUICK_SHAPES, Case, Cases, find_cases
from validation.measuring.loop import Outcome, Run
from validation.measuring.measurer import cuda_measure
from validation.measuring.reply import Measured
from validation.measuring.shapes import OWN
from validation.measuring.worker import Process, Worker

pytestmark = pytest.mark.filterwarnings(ARRAY_BOUNDS)
H200 = load_gpu("h200_sxm")
SANTA = (OWN + "santa_flash", OWN + "santa_prop")
GOOD, WRONG = SANTA
SOME = find_cases(H200, SANTA, "warm")
CASES = replace(SOME, cases=SOME.cases[:6])
SAYS = {
    "raises": "KeyError: 'at 3:4:\\n    x = y\\n\\ny is not defined\\n'",
    "hangs": "gave no result in 2 s",
    "kills its process": "its process ended with exit code 9",
    "exits": "its process ended with exit code 3",
}


def ran(how: str) -> tuple[Outcome, list[Measured]]:
    """A run in which a kernel does something bad."""
    kept: list[Measured] = []

    def keep(case: Case, found: Measured) -> None:
        assert case.kernel == GOOD
        kept.append(found)

    def start() -> Worker:
        return Process(partial(made, bad=WRONG, how=how), patience_s=2.0)

    return Run(start=start, keep=keep, tell=SILENT).measure_all(CASES), kept


@pytest.mark.parametrize("how", BAD)
def test_a_kernel_that_goes_wrong_costs_no_row_of_another(how: str) -> None:
    outcome, kept = ran(how)
    assert outcome.measured == {GOOD: 3}
    assert outcome.left_out[WRONG, "the kernel failed"] == 3
    assert outcome.status == 1
    assert outcome.stopped == ""
    assert outcome.failures == {WRONG: f"{CASES.cases[1]}: {SAYS[how]}"}
    assert len({found.source for found in kept}) == 1


def test_a_process_that_does_not_begin_is_a_failure(capfd: pytest.CaptureFixture[str]) -> None:
    outcome, kept = ran("begins badly")
    assert kept == []
    assert outcome.failures == dict.fromkeys(SANTA, "ImportError: no module of this kind")
    assert outcome.left_out == SOME.left_out + Counter(
        {(kernel, "the kernel failed"): 3 for kernel in SANTA}
    )
    assert outcome.status == 1
    assert capfd.readouterr().err.count("Traceback (most recent call last)") == 2


def test_without_a_gpu_its_process_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    worker = Process(partial(cuda_measure, DEVICE, H200, "warm"))
    failed = worker.failed_to_begin()
    assert worker.close()
    assert failed is not None
    assert failed.reason.startswith(("AssertionError: Torch not compiled", "RuntimeError: "))


def test_the_program_keeps_the_rows_of_the_others_and_its_exit_status_is_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make = partial(made, bad=WRONG, how="kills its process")
    monkeypatch.setattr(command, "found_device", lambda: DEVICE)
    monkeypatch.setattr(command, "_worker", lambda *_: Process(make))
    path = tmp_path / "rows.csv"
    kernels = [word for kernel in SANTA for word in ("--kernel", kernel)]
    monkeypatch.setattr(sys, "argv", ["measure", *kernels, "--quick", "--output", str(path)])
    with pytest.raises(SystemExit) as end:
        command.main()
    assert end.value.code == 1
    assert [row.kernel for row in read_measured(path)] == [GOOD] * QUICK_SHAPES
    shown = capfd.readouterr()
    first, failed, where = shown.err.splitlines()
    assert first.startswith(f"0 of {2 * QUICK_SHAPES} done after ")
    assert failed.startswith(f"failed: {WRONG}: decode, ")
    assert failed.endswith("its process ended with exit code 9")
    assert where == f"rows are in {path}"
    assert f"left out: {QUICK_SHAPES} of {WRONG}: the kernel failed\n{failed}\n" in shown.out


def test_nothing_to_measure_starts_no_process() -> None:
    def start() -> Worker:
        raise AssertionError

    run = Run(start=start, keep=lambda *_: None, tell=SILENT)
    assert run.measure_all(Cases(cases=[])) == Outcome(left_out=Counter())


def test_a_process_that_cannot_be_ended_ends_the_run() -> None:
    class Lingering(Here):
        def close(self) -> bool:
            return False

    measure = made(bad=GOOD, how="raises")
    run = Run(start=lambda: Lingering(measure), keep=lambda *_: None, tell=SILENT)
    outcome = run.measure_all(CASES)
    assert outcome.stopped == f"the process of {GOOD} cannot be ended"
    assert outcome.status == 1
    assert outcome.measured == Counter()
