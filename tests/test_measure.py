"""The measuring program on a pretended GPU: kernels interpreted on the CPU, times made up."""

import csv
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from interpreter import ARRAY_BOUNDS, OWN, problem

import gpusim
from gpusim.errors import SpecError
from gpusim.spec.load import load_gpu, shipped
from gpusim.study.measured_csv import read_measured
from gpusim.study.predict_row import Prediction, predict_row
from validation import measure as command
from validation.kernels.lean import lean
from validation.kernels.problem import Problem
from validation.measuring import checks, launching, shapes
from validation.measuring.bench import Bench, GpuLostError
from validation.measuring.cases import L2, find_cases, identity, options_of
from validation.measuring.estimate import estimated_s
from validation.measuring.launching import Call, Output, call_of
from validation.measuring.rows import HEADER, add_row, mend, read_rows
from validation.microbench.device import Device
from validation.reference import reference
from validation.timing import Timing

pytestmark = pytest.mark.filterwarnings(ARRAY_BOUNDS)
S = gpusim.Sequence
H200 = load_gpu("h200_sxm")
DEVICE = Device(
    name="NVIDIA H200",
    num_sms=132,
    driver="570.1",
    day="2026-11-20",
    torch="2.11.0",
    triton="3.6.0",
)
#: Interpreted kernels are those of the interpreter: not flash3, and in fp16.
TINY = (
    shapes.Grid(
        schedules=("flash1", "flash2"),
        phase="prefill",
        lengths=(40,),
        batches=(2,),
        heads=((2, 1),),
        head_dims=(64,),
        windows=(None, 16),
        dtype="fp16",
    ),
    shapes.Grid(
        schedules=("flash2_split_kv", "lean"),
        phase="decode",
        lengths=(150, 300),
        batches=(1,),
        heads=((4, 1),),
        head_dims=(64,),
        dtype="fp16",
    ),
    shapes.Grid(
        schedules=("santa_flash", "santa_prop"),
        phase="decode",
        lengths=(100,),
        batches=(1,),
        heads=((8, 1),),
        head_dims=(64,),
        dtype="fp16",
    ),
)
CHECKED = {"prefill": S(count=1, q_len=20, kv_len=77), "decode": S(count=1, q_len=1, kv_len=77)}
SCHEDULES = ("flash1", "flash2", "flash2_split_kv", "lean", "santa_flash", "santa_prop")


def pretended_time(call: Call, l2: L2) -> Timing:
    """Twelve us, after one call."""
    assert l2 in ("warm", "cold")
    call()
    return Timing(median_us=12.3456, low_us=12.0, high_us=13.0, samples=10)


BENCH = Bench(
    device=DEVICE, place="cpu", time=pretended_time, clock=lambda: "1980 MHz", settle=lambda: None
)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few and small shapes."""
    monkeypatch.setattr(shapes, "GRIDS", TINY)
    monkeypatch.setattr(shapes, "CHECKED", CHECKED)
    monkeypatch.setattr(shapes, "CHECKED_WINDOW", 30)
    monkeypatch.setattr(checks, "SEEDS", 24)


Run = Callable[..., int]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny: None) -> Run:  # noqa: ARG001
    """Exit status of the whole program on the pretended GPU; it writes `rows.csv`."""
    monkeypatch.setattr(command, "found_device", lambda: DEVICE)
    monkeypatch.setattr(command, "_bench", lambda _: BENCH)

    def status(*schedules: str, arguments: tuple[str, ...] = ()) -> int:
        kernels = [word for name in schedules for word in ("--kernel", OWN + name)]
        output = ("--output", str(tmp_path / "rows.csv"))
        return program(monkeypatch, *kernels, *output, *arguments)

    return status


def program(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["measure", *arguments])
    with pytest.raises(SystemExit) as end:
        command.main()
    assert isinstance(end.value.code, int)
    return end.value.code


def test_rows_of_every_kernel_are_written_and_can_be_predicted(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*SCHEDULES) == 0
    rows = read_measured(tmp_path / "rows.csv")
    assert Counter(row.kernel.removeprefix(OWN) for row in rows) == {
        "flash1": 1,
        **dict.fromkeys(SCHEDULES[1:4], 2),
        **dict.fromkeys(SCHEDULES[4:], 1),
    }
    assert all(row.measured_us == 12.346 and row.l2 == "warm" for row in rows)
    assert all(isinstance(predict_row(row, "analytic"), Prediction) for row in rows)
    split = next(row for row in rows if row.kernel == OWN + "flash2_split_kv")
    options = options_of(split.kernel, split.attention, H200)
    assert split.source == (
        "validation/measure, 2026-11-20, NVIDIA H200, driver 570.1, SM clock 1980 MHz, "
        "torch 2.11.0, triton 3.6.0, graph replay, 10 samples, 20th to 80th percentile 12.000 to "
        "13.000 us, block_m=16 block_n=64 num_warps=4 stages=2 num_splits="
        f"{options['num_splits']} combine_rows={options['combine_rows']}"
    )
    shown = capsys.readouterr()
    assert f"{OWN}lean: 2 rows measured\n" in shown.out
    assert f"left out: 1 of {OWN}flash1: attention.window: expected none, found 16\n" in shown.out
    assert shown.err == f"rows are in {tmp_path / 'rows.csv'}\n"


def test_a_run_goes_on_after_a_line_that_was_broken_off(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rows.csv"
    assert run("flash2") == 0
    whole = path.read_bytes()
    last = whole[:-1].rfind(b"\n") + 1
    path.write_bytes(whole[: last + 25])
    capsys.readouterr()
    assert run("flash2", arguments=("--dry-run", "--gpu", "h200_sxm")) == 0
    assert "1 rows, L2 warm" in capsys.readouterr().out
    assert len(path.read_bytes()) == last + 25
    assert run("flash2") == 0
    assert path.read_bytes() == whole
    assert f"left out: 1 of {OWN}flash2: measured before\n" in capsys.readouterr().out
    assert run("flash2", arguments=("--l2", "cold")) == 0
    rows = read_measured(path)
    assert [row.l2 for row in rows] == ["warm"] * 2 + ["cold"] * 2
    assert "graph replay, flushed L2, 10 samples" in rows[-1].source
    assert len({identity(row) for row in rows}) == len(rows)


def test_a_foreign_file_is_refused_and_left_alone(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rows.csv"
    for content in (
        b"gpu,kernel,measured_us\nl40s,flash2,3\n",
        next(iter(shipped("validation/published", ".csv").values())).read_bytes(),
        b"notes without a line break",
        HEADER + b"l40s,half a row\n",
    ):
        path.write_bytes(content)
        assert run("flash2") == 2
        shown = capsys.readouterr()
        assert shown.err.count("\n") == 1
        assert shown.err.startswith(f"measure: {path}: ")
        assert path.read_bytes() == content


def test_a_broken_header_is_made_whole(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    for content in (b"", HEADER[:10], HEADER[:-1]):
        path.write_bytes(content)
        assert read_rows(path) == []
        mend(path)
        assert path.read_bytes() == HEADER
        assert read_rows(path) == []


def test_a_row_is_read_as_it_was_written(tmp_path: Path, tiny: None) -> None:  # noqa: ARG001
    path = tmp_path / "rows.csv"
    cases = find_cases(H200, [OWN + "flash2"], "cold").cases
    rows = [case.row(H200, "cold", measured_us=0.125, source='a, "b"') for case in cases]
    mend(path)
    for row in rows:
        add_row(path, row)
    assert read_rows(path) == rows
    header, *lines = csv.reader(path.read_text().splitlines())
    assert len(lines) == len(rows)
    assert all(len(line) == len(header) for line in lines)


CALLS = dict(launching.CALLS)


def wrong(schedule: str, spoil: Callable[[Output], Output]) -> dict[str, Any]:
    """Calls of which those of a schedule give something else."""

    def made(given: Problem, options: Mapping[str, int], seed: int) -> Call:
        call = CALLS[schedule](given, options, seed)
        return lambda: spoil(call())

    return {**CALLS, schedule: made}


def spoilt(found: Output, *, factor: float = 1.0, lse: float = 0.0) -> Output:
    """An output that is a little too large, a log-sum-exp that is a little off."""
    o, statistic = launching.output_of(found)
    return o * factor if statistic is None else (o * factor, statistic + lse)


def test_a_kernel_that_computes_wrongly_is_not_timed_and_the_others_are(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(launching, "CALLS", wrong("flash2", lambda o: spoilt(o, factor=1.01)))
    assert run("flash2", "flash2_split_kv") == 1
    rows = read_measured(tmp_path / "rows.csv")
    assert {row.kernel for row in rows} == {OWN + "flash2_split_kv"}
    shown = capsys.readouterr()
    assert f"left out: 2 of {OWN}flash2: the kernel failed\n" in shown.out
    assert (
        f"failed: {OWN}flash2: prefill, 2 x 40 queries on 40 keys, 2/1 heads of 64: " in shown.out
    )
    assert "times the tolerance (on the problem that is checked whole)\n" in shown.out


def test_a_kernel_that_cannot_run_has_failed_and_one_without_memory_has_not(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: Output) -> Output:
        raise RuntimeError("no kernel image\nand more")

    def fill(_: Output) -> Output:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(launching, "CALLS", wrong("flash2", refuse))
    assert run("flash2") == 1
    assert "heads of 64: no kernel image\n" in capsys.readouterr().out
    monkeypatch.setattr(launching, "CALLS", wrong("flash2", fill))
    assert run("flash2") == 0
    out = capsys.readouterr().out
    assert f"left out: 2 of {OWN}flash2: does not fit in the memory that is free\n" in out
    assert "no row measured\n" in out


def test_the_run_ends_when_the_gpu_does_or_the_user_or_the_time(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lost() -> None:
        raise GpuLostError("an illegal memory access was encountered")

    def interrupted(_: Call, __: L2) -> Timing:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "_bench", lambda _: replace(BENCH, settle=lost))
    assert run("flash2_split_kv") == 1
    out = capsys.readouterr().out
    assert f"{OWN}flash2_split_kv: 1 rows measured\n" in out
    assert "stopped: the GPU answers no more\n" in out
    monkeypatch.setattr(command, "_bench", lambda _: replace(BENCH, time=interrupted))
    assert run("flash2_split_kv") == 130
    assert "stopped: interrupted\n" in capsys.readouterr().out
    monkeypatch.setattr(command, "_bench", lambda _: BENCH)
    assert run("flash2_split_kv", arguments=("--limit-minutes", "1e-9")) == 0
    assert "stopped: the time is up, 1 shapes not tried\n" in capsys.readouterr().out


PROBLEMS = {
    "causal": problem(sequences=(S(count=2, q_len=20, kv_len=77),)),
    "not causal": problem(causal=False, sequences=(S(count=2, q_len=20, kv_len=77),)),
    "window": problem(window=9, sequences=(S(count=2, q_len=20, kv_len=77),)),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_check_lets_pass_what_is_right(name: str) -> None:
    options = options_of(OWN + "flash2", PROBLEMS[name].attention, H200)
    checks.check_kernel(OWN + "flash2", PROBLEMS[name], options)


@pytest.mark.parametrize(
    ("factor", "lse", "message"),
    [
        (1.004, 0.0, "outputs are off by .* times the tolerance"),
        (1.0, 2e-4, "log-sum-exps are off by 0.0002"),
        (float("nan"), 0.0, "an output is not finite"),
    ],
)
def test_the_check_sees_what_is_a_little_off(factor: float, lse: float, message: str) -> None:
    given = PROBLEMS["causal"]
    right = call_of(OWN + "flash2", given, options_of(OWN + "flash2", given.attention, H200))()
    with pytest.raises(checks.WrongResultError, match=message):
        checks.check_outputs(
            spoilt(right, factor=factor, lse=lse), given, checks.all_rows(given), {}
        )


def test_the_check_sees_a_mask_that_is_one_key_off() -> None:
    shape: dict[str, Any] = {"sequences": (S(count=2, q_len=40, kv_len=77),)}
    narrow, wide = problem(window=9, **shape), problem(window=10, **shape)
    kernel = OWN + "flash2"
    call = call_of(kernel, wide, options_of(kernel, wide.attention, H200))
    with pytest.raises(checks.WrongResultError, match="outputs are off"):
        checks.check_outputs(call(), narrow, checks.few_rows(narrow), {})


@pytest.mark.parametrize("schedule", ["santa_flash", "santa_prop"])
def test_the_check_of_sampled_outputs_sees_a_bias_that_one_run_hides(
    monkeypatch: pytest.MonkeyPatch, schedule: str
) -> None:
    given = problem(q_heads=8, kv_heads=1, sequences=(S(q_len=1, kv_len=100),))
    kernel = OWN + schedule
    options = options_of(kernel, given.attention, H200)
    monkeypatch.setattr(checks, "SEEDS", 24)
    variance = torch.cat([checks.exact(given, rows).variance for rows in checks.all_rows(given)])
    bias = 0.5 * float(variance.mean().sqrt()) / checks.draws_of(options, given) ** 0.5

    def biased(found: Output) -> Output:
        o, statistic = launching.output_of(found)
        return o + bias if statistic is None else (o + bias, statistic)

    monkeypatch.setattr(launching, "CALLS", wrong(schedule, biased))
    found = call_of(kernel, given, options)()
    checks.check_outputs(found, given, checks.all_rows(given), options)
    with pytest.raises(checks.WrongResultError, match="the mean of 24 runs is off by"):
        checks.check_kernel(kernel, given, options)


def test_exact_rows_are_those_of_the_reference() -> None:
    for given in PROBLEMS.values():
        o, lse = reference(given)
        for rows in checks.all_rows(given):
            should = checks.exact(given, rows)
            own = rows.sequence * 20 + rows.queries
            np.testing.assert_allclose(should.o, o[own, rows.head], atol=1e-12)
            np.testing.assert_allclose(should.lse, lse[own, rows.head])


def test_a_full_run_takes_a_quarter_of_an_hour_and_begins_with_a_bit_of_everything() -> None:
    full = find_cases(H200, shapes.KERNELS, "warm")
    assert 900 < len(full.cases) < 1500
    assert estimated_s(full.cases, "warm") < 15 * 60
    assert estimated_s(full.cases, "cold") < 15 * 60
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
    assert small[OWN + "lean", "would not fit in 48 GB"] > 0
    assert small[OWN + "flash1", "predicted to take more than 200 ms a call"] == 1


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dry-run"], "--gpu: expected a name with --dry-run, found none"),
        (["--gpu", "l40s"], "--gpu: expected a GPU of 142 SMs for l40s, found NVIDIA H200 of 132"),
        (["--gpu", "h20"], "h20: expected a GPU name or a file, found neither"),
        (["--kernel", "gpusim_triton_flash4"], "'gpusim_triton_flash4' is not one of"),
        (["--output", "no/such.csv"], "--output: expected a file in a folder that exists"),
        (["--limit-minutes", "0"], "0 is not in the range x>0"),
        (["--l2", "hot"], "'hot' is not one of 'warm', 'cold'"),
    ],
)
def test_mistakes_are_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.setattr(command, "found_device", lambda: DEVICE)
    assert program(monkeypatch, *arguments) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_without_a_gpu_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TRITON_INTERPRET")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert program(monkeypatch) == 2
    assert capsys.readouterr().err == (
        "measure: expected a CUDA GPU, found none; --dry-run shows what would be measured\n"
    )


def test_a_file_that_cannot_be_read_or_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="expected a readable file, found: Is a directory"):
        read_rows(tmp_path)
    with pytest.raises(SpecError, match="expected to write to it, found: No such file"):
        mend(tmp_path / "none" / "rows.csv")


def test_lean_takes_a_plan_prepared_before() -> None:
    given = problem(sequences=(S(count=2, q_len=1, kv_len=300),))
    options = options_of(OWN + "lean", given.attention, H200)
    call = call_of(OWN + "lean", given, options)
    assert torch.equal(call(), lean(given, **options))  # type: ignore[arg-type]
    assert torch.equal(call(), call())  # type: ignore[arg-type]
