"""The measuring program on a pretended GPU: kernels interpreted on the CPU, times made up."""

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from interpreter import ARRAY_BOUNDS, OWN, torch
from pretended import DEVICE, Here
from spoilt import spoilt, wrong

import gpusim
from gpusim.spec.load import load_gpu, shipped
from gpusim.study.measured_csv import read_measured
from gpusim.study.predict_row import Prediction, predict_row
from validation import measure as command
from validation.device import Device
from validation.measuring import checks, launching, shapes
from validation.measuring.bench import Bench
from validation.measuring.cases import L2, identity, options_of
from validation.measuring.launching import Call, Output
from validation.measuring.measurer import Measurer
from validation.measuring.rows import HEADER
from validation.timing import Timing

pytestmark = pytest.mark.filterwarnings(ARRAY_BOUNDS)
S = gpusim.Sequence
H200 = load_gpu("h200_sxm")
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


def pretended_time(call: Call, l2: L2) -> tuple[Timing, str]:
    """Twelve us, after one call."""
    assert l2 in ("warm", "cold")
    call()
    calls = 5 if l2 == "warm" else 1
    timing = Timing(median_us=12.3456, low_us=12.0, high_us=13.0, samples=10, calls=calls)
    return timing, "1980 MHz"


BENCH = Bench(device=DEVICE, place="cpu", time=pretended_time, settle=lambda: None)


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
    on_bench(monkeypatch, BENCH)

    def status(*schedules: str, arguments: tuple[str, ...] = ()) -> int:
        kernels = [word for name in schedules for word in ("--kernel", OWN + name)]
        output = ("--output", str(tmp_path / "rows.csv"))
        return program(monkeypatch, *kernels, *output, *arguments)

    return status


def on_bench(monkeypatch: pytest.MonkeyPatch, bench: Bench) -> None:
    """Measure in this process."""

    def worker(device: Device, gpu: gpusim.Gpu, l2: L2) -> Here:
        assert device == DEVICE
        return Here(Measurer(bench=bench, gpu=gpu, l2=l2).measure)

    monkeypatch.setattr(command, "_worker", worker)


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
        "torch 2.11.0, triton 3.6.0, graph replay of 5 calls, 10 samples, 20th to 80th percentile "
        "12.000 to 13.000 us, " + " ".join(f"{name}={value}" for name, value in options.items())
    )
    shown = capsys.readouterr()
    assert f"{OWN}lean: 2 rows measured\n" in shown.out
    assert f"left out: 1 of {OWN}flash1: attention.window: expected none, found 16\n" in shown.out
    told, *more, where = shown.err.splitlines()  # more: on a slow machine
    assert all(" of 9 done after " in line for line in more)
    assert told.startswith("0 of 9 done after ")
    assert told.endswith(f" s; {OWN}flash2")
    assert where == f"rows are in {tmp_path / 'rows.csv'}"


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
        raise KeyError("at 3:4\n  x = y\n\ny is not defined\n")

    def fill(_: Output) -> Output:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(launching, "CALLS", wrong("flash2", refuse))
    assert run("flash2") == 1
    shown = capsys.readouterr()
    why = f"failed: {OWN}flash2: prefill, 2 x 40 queries on 40 keys, 2/1 heads of 64: KeyError: "
    assert why in shown.out
    assert why in shown.err
    assert "Traceback (most recent call last)" in shown.err
    assert "in refuse" in shown.err
    monkeypatch.setattr(launching, "CALLS", wrong("flash2", fill))
    assert run("flash2") == 0
    out = capsys.readouterr().out
    assert f"left out: 2 of {OWN}flash2: does not fit in the memory that is free\n" in out
    assert "no row measured\n" in out


def test_a_gpu_that_answers_no_more_costs_only_the_kernel_that_broke_it(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settled: list[None] = []

    def settle() -> None:
        settled.append(None)
        if len(settled) == 2:
            raise RuntimeError("CUDA error: an illegal memory access was encountered\nand so on")

    on_bench(monkeypatch, replace(BENCH, settle=settle))
    assert run("flash2_split_kv", "lean") == 1
    kernels = Counter(row.kernel for row in read_measured(tmp_path / "rows.csv"))
    assert kernels == {OWN + "flash2_split_kv": 2}
    out = capsys.readouterr().out
    assert f"failed: {OWN}lean: decode, 1 x 1 queries on " in out
    assert "RuntimeError: CUDA error: an illegal memory access was encountered ... and so on" in out
    assert f"left out: 2 of {OWN}lean: the kernel failed\n" in out


def test_the_run_ends_when_the_user_says_so_or_the_time_is_up(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: Call, __: L2) -> tuple[Timing, str]:
        raise KeyboardInterrupt

    on_bench(monkeypatch, replace(BENCH, time=interrupted))
    assert run("flash2_split_kv") == 130
    assert "stopped: interrupted\n" in capsys.readouterr().out
    on_bench(monkeypatch, BENCH)
    assert run("flash2_split_kv", arguments=("--limit-minutes", "1e-9")) == 0
    assert "stopped: the time is up, 2 shapes not tried\n" in capsys.readouterr().out


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
