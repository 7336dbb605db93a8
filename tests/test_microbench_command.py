"""The microbenchmarks as a program: what it plans, writes, and says of what goes wrong."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Cli
from pretended import DEVICE

from gpusim.errors import SpecError
from gpusim.spec.gpu import Gpu
from gpusim.spec.load import load_gpu, shipped
from validation import device
from validation.microbench import __main__ as command
from validation.microbench.benchmark import Reading
from validation.microbench.catalogue import BENCHMARKS

FAKE = {
    "hbm": {"hbm.sustained_gb_per_s": 4321.4, "copy, GB/s read and written": 4000.0},
    "l2": {
        "l2.bytes_per_clock": 4950.4,
        "l2.port_bytes_per_clock_per_sm": 62.11111,
        "l2.hit_mib": 31.0,
        "l2.miss_mib": 48.0,
    },
    "launch": {"launch.stream_us": 2.2, "launch.graph_us": 1.2, "launch.shortest_kernel_us": 1.1},
    "exp2": {
        "pipes.exp2_per_clock": 15.98,
        "pipes.fp32_per_clock": 127.0,
        "pipes.convert_per_clock": 63.9,
    },
    "tensor": {
        "tensor.mma_sync_achieved_fraction": 0.62,
        "tensor.wgmma_flop_per_clock.bf16": 3950.0,
        "tensor.wgmma_flop_per_clock.fp16": 3951.0,
        "tensor.wgmma_flop_per_clock.fp8": 7900.0,
    },
    "clock": {
        "clock.benchmark_mhz": 1905.0,
        "clock.steady_mhz": 1500.0,
        "clock.power_limit_delay_s": 0.0412,
    },
}


@pytest.mark.parametrize("name", sorted(shipped("hardware")))
def test_every_field_that_is_measured_is_one_of_the_profile(name: str) -> None:
    gpu = load_gpu(name)
    for benchmark in BENCHMARKS.values():
        assert set(benchmark.fields(gpu)) <= set(gpu.provenance)
        assert benchmark.plan(gpu, True)


def test_boards_have_the_profiles_that_ship() -> None:
    assert sorted(device.PROFILES.values()) == sorted(shipped("hardware"))
    with pytest.raises(SpecError, match="no profile is known for NVIDIA H200 MIG"):
        device.profile_name("NVIDIA H200 MIG 1g.18gb")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Exit status of the command."""
    monkeypatch.setattr(sys, "argv", ["microbench", *arguments])
    with pytest.raises(SystemExit) as end:
        command.main()
    assert isinstance(end.value.code, int)
    return end.value.code


def pretend(monkeypatch: pytest.MonkeyPatch, on: device.Device = DEVICE) -> None:
    """Put a GPU in place, and readings from FAKE in the place of measuring."""

    def readings(name: str) -> list[Reading]:
        return [Reading(name=n, value=v, how="by hand") for n, v in FAKE[name].items()]

    def fake(name: str) -> object:
        def measure(_: Gpu, quick: bool) -> list[Reading]:
            assert not quick
            return readings(name)

        return measure

    monkeypatch.setattr(command, "found_device", lambda: on)
    for name, benchmark in BENCHMARKS.items():
        monkeypatch.setitem(BENCHMARKS, name, replace(benchmark, measure=fake(name)))  # type: ignore[arg-type]


def test_a_measured_profile_is_one_that_gpusim_takes(
    monkeypatch: pytest.MonkeyPatch, cli: Cli, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend(monkeypatch)
    assert run(monkeypatch) == 0
    shown = capsys.readouterr()
    assert "hbm.sustained_gb_per_s" in shown.out
    assert "wrote h200_sxm_measured.yaml" in shown.err
    listed = json.loads(cli("hardware", "h200_sxm_measured.yaml", "--format", "json").out)
    rows = {row["field"]: row for row in listed}
    expected = {n: v for found in FAKE.values() for n, v in found.items() if n in rows}
    assert {n: rows[n]["value"] for n in expected} == pytest.approx(expected, rel=5e-4)
    assert {n for n, row in rows.items() if row["source"].startswith("validation")} == set(expected)
    assert rows["hbm.sustained_gb_per_s"]["kind"] == "measured"
    assert rows["hbm.sustained_gb_per_s"]["source"] == (
        "validation/microbench hbm, NVIDIA H200, driver 570.1, 2026-11-20, torch 2.11.0, "
        "triton 3.6.0: by hand"
    )
    workload = str(next(iter(shipped("workloads").values())))
    simulated = cli("simulate", workload, "--gpu", "h200_sxm_measured.yaml", "--format", "json")
    assert simulated.code == 0
    assert {row["gpu"] for row in json.loads(simulated.out)} == {"h200_sxm_measured"}


@pytest.mark.parametrize("failure", [ArithmeticError("no\n\nslope"), None])
def test_a_benchmark_that_fails_costs_no_reading_of_another(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    failure: Exception | None,
) -> None:
    pretend(monkeypatch)
    path = tmp_path / "found.yaml"
    seen = []

    def measure(*_: object) -> list[Reading]:
        seen.append(load_gpu(path).hbm.sustained_gb_per_s)
        if failure is not None:
            raise failure
        return [Reading(name="l2.bytes_per_clock", value=float("nan"), how="by hand")]

    monkeypatch.setitem(BENCHMARKS, "l2", replace(BENCHMARKS["l2"], measure=measure))
    assert run(monkeypatch, "--only", "hbm,l2,launch", "--output", str(path)) == 1
    shown = capsys.readouterr()
    why = "failed: l2: ArithmeticError: no ... slope" if failure else "failed: l2: SpecError: "
    assert why in shown.out
    assert why in shown.err
    assert "Traceback (most recent call last)" in shown.err
    assert shown.err.count(" of 3 done after ") == 3
    assert seen == [4321]
    gpu = load_gpu(path)
    assert (gpu.hbm.sustained_gb_per_s, gpu.launch.stream_us) == (4321, 2.2)
    assert gpu.l2 == load_gpu("h200_sxm").l2


def test_an_interruption_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> list[Reading]:
        raise KeyboardInterrupt

    pretend(monkeypatch)
    monkeypatch.setitem(BENCHMARKS, "l2", replace(BENCHMARKS["l2"], measure=interrupted))
    assert run(monkeypatch, "--output", str(tmp_path / "found.yaml")) == 130
    assert capsys.readouterr().err.endswith("microbench: interrupted\n")
    assert load_gpu(tmp_path / "found.yaml").hbm.sustained_gb_per_s == 4321


def test_a_profile_from_a_file_can_be_measured_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pretend(monkeypatch)
    first, again = tmp_path / "first.yaml", tmp_path / "again.yaml"
    assert run(monkeypatch, "--only", "hbm,clock", "--output", str(first)) == 0
    assert run(monkeypatch, "--only", "l2", "--gpu", str(first), "--output", str(again)) == 0
    gpu = load_gpu(again)
    assert (gpu.hbm.sustained_gb_per_s, gpu.l2.hit_mib) == (4321, 31.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "hmb"], "--only: expected microbenchmarks, found hmb; did you mean 'hbm'?"),
        (["--dry-run"], "--gpu: expected a name with --dry-run, found none"),
        (["--gpu", "l40s"], "--gpu: expected a GPU of 142 SMs for l40s, found NVIDIA H200 of 132"),
        (["--output", "no/such.yaml"], "such.yaml: expected a file in a folder that exists"),
        (["--slow"], "No such option"),
    ],
)
def test_mistakes_are_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    pretend(monkeypatch)
    assert run(monkeypatch, *arguments) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_without_triton_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "triton", None)
    assert run(monkeypatch) == 2
    assert "found no torch; pip install 'gpusim[triton]'" in capsys.readouterr().err


def test_without_a_gpu_the_dry_run_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra 'triton'")
    pytest.importorskip("triton", reason="needs the extra 'triton'")
    monkeypatch.delenv("TRITON_INTERPRET")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert run(monkeypatch) == 2
    assert "expected a CUDA GPU, found none" in capsys.readouterr().err


def test_the_dry_run_lists_every_field_and_imports_neither_torch_nor_triton() -> None:
    code = (
        "import sys; from validation.microbench.__main__ import microbench;"
        "microbench(['--dry-run', '--gpu', 'h200_sxm'], standalone_mode=False);"
        "sys.exit(bool({'torch', 'triton'} & set(sys.modules)))"
    )
    root = Path(__file__).resolve().parents[1]
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    gpu = load_gpu("h200_sxm")
    for benchmark in BENCHMARKS.values():
        assert benchmark.name in shown.stdout
        assert all(field in shown.stdout for field in benchmark.fields(gpu))
