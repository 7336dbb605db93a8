"""Microbenchmarks without a GPU: what readings become, the plan, the profile, kernels interpreted.

The kernels run in Triton's interpreter, without the clock and the instructions that only a GPU has.
"""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from conftest import Cli

from gpusim.errors import SpecError
from gpusim.spec.gpu import Gpu
from gpusim.spec.load import load_gpu, shipped
from validation.microbench import __main__ as command
from validation.microbench import clock, device, exp2, hbm, l2, launch, stamps, tensor
from validation.microbench.benchmark import Reading
from validation.microbench.catalogue import BENCHMARKS
from validation.timing import Timing, time_call

H200 = device.Device(
    name="NVIDIA H200",
    num_sms=132,
    driver="570.1",
    day="2026-11-20",
    torch="2.11.0",
    triton="3.6.0",
)
FAKE = {
    "hbm": {"hbm.sustained_gb_per_s": 4321.4, "copy, GB/s read and written": 4000.0},
    "l2": {
        "l2.bytes_per_clock": 4950.4,
        "l2.bytes_per_clock_per_sm": 37.5,
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


def stamp(sm: int, clocks: tuple[int, int], ns: tuple[int, int]) -> list[int]:
    """A CTA's row."""
    return [sm, *clocks, *ns]


#: Two SMs at 2 clocks per ns; the first runs two CTAs, one half a time later than the other.
STAMPS: stamps.Stamps = np.array(
    [
        stamp(4, (1000, 3000), (10_000, 11_000)),
        stamp(4, (2000, 5000), (10_500, 12_000)),
        stamp(7, (70_000, 72_000), (10_000, 11_000)),
    ]
)


def test_a_clock_is_clocks_by_time() -> None:
    assert stamps.clock_mhz(STAMPS) == 2000


def test_a_rate_per_sm_counts_all_its_ctas_from_first_start_to_last_end() -> None:
    one, two = 100 / 2000, 2 * 100 / 4000
    assert stamps.per_sm_per_clock(STAMPS, 100) == pytest.approx((one + two) / 2)
    assert stamps.per_sm_per_clock(STAMPS[:2], 100) == pytest.approx(two)


def test_a_rate_of_the_whole_gpu_divides_by_the_time_of_all_ctas() -> None:
    assert stamps.per_clock(STAMPS, 8000) == pytest.approx(8000 / 4000)


def test_hbm_takes_the_fastest_median() -> None:
    found = hbm.fastest({(1000, 4): 300.0, (1000, 8): 262.144, (2000, 8): 600.0})
    assert found.name == "hbm.sustained_gb_per_s"
    assert found.value == pytest.approx(4000)
    assert found.how == "read of 1000 MiB, 8 CTAs of 8 warps per SM"


@pytest.mark.parametrize("name", sorted(shipped("hardware")))
def test_buffers_fit_the_gpu_and_their_purpose(name: str) -> None:
    gpu = load_gpu(name)
    assert max(hbm.buffers_mib(gpu, False)) * 2**20 < 0.5 * gpu.hbm.capacity_gb * 1e9
    assert l2.shared_mib(gpu) <= gpu.l2.capacity_mib / 4
    sizes = l2.footprints(gpu, False)
    assert sizes == tuple(sorted(sizes))
    assert sizes[1] < gpu.l2.hit_mib
    assert sizes[-2] > gpu.l2.miss_mib
    part = gpu.sm.count * l2.LOAD_BYTES
    assert all((mib * 2**20) % part == 0 for mib in sizes)


def test_useful_l2_is_found_again_from_loads_that_miss_as_the_model_has_it() -> None:
    gpu = load_gpu("h100_sxm")
    sizes = l2.footprints(gpu, False)
    width = gpu.l2.miss_mib - gpu.l2.hit_mib
    shares = [min(1.0, max(0.0, (mib - gpu.l2.hit_mib) / width)) for mib in sizes]
    load_ns = [220 + 180 * share for share in shares]
    hit, miss = l2.useful_mib(sizes, l2.miss_shares(load_ns))
    assert hit == pytest.approx(gpu.l2.hit_mib, abs=0.7)
    assert miss == pytest.approx(gpu.l2.miss_mib, abs=0.7)


def test_the_slope_begins_at_the_first_misses_and_ends_at_the_last_hits() -> None:
    sizes = [10, 20, 30, 40, 50]
    first, last = l2.useful_mib(sizes, [0, 0.05, 0.2, 0.95, 1])
    assert (first, last) == pytest.approx((23 + 1 / 3 - 2, 39 + 1 / 3 + 2))
    early = l2.useful_mib(sizes, [0, 0.15, 0.05, 0.95, 1])
    late = l2.useful_mib(sizes, [0, 0.05, 0.95, 0.85, 1])
    assert early[0] < 20
    assert late[1] > 40


def test_l2_rates_are_medians_of_launches_and_the_share_of_an_sm_follows() -> None:
    alone = np.array([stamp(3, (0, 1000), (0, 500))])
    found = {r.name: r.value for r in l2.rates([STAMPS] * 3, [alone], 8000, 64_000)}
    assert found == {
        "l2.bytes_per_clock": 2.0,
        "l2.bytes_per_clock_per_sm": 1.0,
        "l2.port_bytes_per_clock_per_sm": 64.0,
    }


def test_launch_costs_are_slopes_and_the_shortest_kernel_a_median() -> None:
    stream = [5 + 2.25 * n for n in launch.IN_STREAM]
    graph = [9 + 1.25 * n for n in launch.IN_GRAPH]
    found = {r.name: r.value for r in launch.readings(stream, graph, [1.1, 1.2, 9.0], 14.0)}
    assert found["launch.stream_us"] == pytest.approx(2.25)
    assert found["launch.graph_us"] == pytest.approx(1.25)
    assert found["launch.shortest_kernel_us"] == 1.2


def test_without_a_profiler_the_shortest_kernel_is_left_out() -> None:
    found = launch.readings([1, 2, 3, 4], [1, 2, 3, 4, 5], [], 14.0)
    assert "launch.shortest_kernel_us" not in {r.name for r in found}


def test_tensor_readings_are_a_share_of_mma_sync_and_the_rates_of_wgmma() -> None:
    gpu = load_gpu("h100_sxm")
    rates = {("mma_sync", "bf16"): 2560.0, ("mma_sync", "fp16"): 2600.0, ("wgmma", "fp8"): 7900.0}
    found = {r.name: r.value for r in tensor.readings(gpu, rates)}
    assert found == {
        "tensor.mma_sync_achieved_fraction": 0.625,
        "mma.sync fp16, share reached": pytest.approx(0.6348, abs=1e-4),
        "tensor.wgmma_flop_per_clock.fp8": 7900.0,
    }


def test_a_share_above_the_nominal_rate_is_one() -> None:
    found = tensor.readings(load_gpu("l40s"), {("mma_sync", "bf16"): 1026.0})
    assert [r.value for r in found] == [1.0]


def test_a_packed_conversion_counts_two_results() -> None:
    found = {r.name: r.value for r in exp2.readings({"convert": ([STAMPS[2:]], 32_000.0)})}
    assert found == {"pipes.convert_per_clock": 32.0}


def load_series(limit_s: float, steady: float) -> tuple[clock.Floats, clock.Floats]:
    """Clocks of launches of 1 ms: ten that rise, 1900 MHz, then, past the limit, the steady one."""
    seconds = np.linspace(0.0, 2.999, 3000)
    mhz = np.full(len(seconds), 1900.0)
    mhz[seconds >= limit_s] = steady
    mhz[:10] = 900
    mhz[5::7] += 15
    return seconds, mhz


def test_clocks_are_read_before_and_after_the_power_limit() -> None:
    found = clock.clocks(*load_series(0.060, 1600))
    assert found.benchmark_mhz == pytest.approx(1900, rel=0.01)
    assert found.steady_mhz == pytest.approx(1600, rel=0.01)
    assert found.power_limit_delay_s == pytest.approx(0.060, abs=0.003)


def test_no_delay_is_read_where_no_limit_acts() -> None:
    assert clock.clocks(*load_series(9.0, 1900)).power_limit_delay_s is None


def test_timing_gives_the_median_and_the_percentiles() -> None:
    assert Timing.of([3.0, 1.0, 2.0]) == Timing(median_us=2.0, low_us=1.4, high_us=2.6, samples=3)


def test_timing_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="l2: expected 'warm' or 'cold', found 'hot'"):
        time_call(lambda: None, l2="hot")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="repeats: expected 1 or more, found 0"):
        time_call(lambda: None, l2="warm", repeats=0)


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


def pretend(monkeypatch: pytest.MonkeyPatch, on: device.Device = H200) -> None:
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


@pytest.fixture
def torch() -> ModuleType:
    """Torch, where Triton's interpreter is there too."""
    pytest.importorskip("triton", reason="needs the extra 'triton'")
    found: ModuleType = pytest.importorskip("torch", reason="needs the extra 'triton'")
    return found


interpreted = pytest.mark.filterwarnings("ignore:Conversion of an array:DeprecationWarning")


@interpreted
def test_every_part_of_the_buffer_is_read_by_its_cta_in_every_pass(torch: ModuleType) -> None:
    from validation.microbench.kernels.read import Shape, read

    x = torch.arange(160, dtype=torch.float32)
    out = torch.zeros(3)
    read(x, out, Shape(tile=16, loads=2, warps=1), passes=2)
    parts = x.view(5, 32).sum(1)
    assert out.tolist() == [2 * float(parts[i::3].sum()) for i in range(3)]


@interpreted
def test_a_chained_load_goes_where_the_one_before_it_says(torch: ModuleType) -> None:
    from validation.microbench.kernels.read import CHAIN_TILE, chained_read

    x = torch.zeros(4 * CHAIN_TILE, dtype=torch.int32)
    x[:CHAIN_TILE] = CHAIN_TILE
    x[3 * CHAIN_TILE :] = 5
    out = torch.full((2 * CHAIN_TILE,), 9, dtype=torch.int32)
    chained_read(x, out)
    assert out.view(2, CHAIN_TILE).unique(dim=1).flatten().tolist() == [5, 5]


@interpreted
def test_a_chain_is_the_operation_over_and_over(torch: ModuleType) -> None:
    from validation.microbench.kernels.chain import chain_kernel

    x = np.arange(16, dtype=np.float32) / 16
    expected = {"exp2": np.exp2(np.exp2(x)).sum(), "fma": ((x / 2 + 0.25) / 2 + 0.25).sum()}
    for operation, total in expected.items():
        out = torch.zeros(2)
        chain_kernel[(2,)](
            out, out, 1, 0.5, 0.25, OPERATION=operation, TILE=16, TURN=2, CLOCKED=False
        )
        assert out.tolist() == pytest.approx([float(total)] * 2, rel=1e-6)


@interpreted
def test_a_product_adds_up_turn_by_turn(torch: ModuleType) -> None:
    from validation.microbench.kernels.matrix import dot

    a, b = (torch.arange(512).reshape(16, 32).remainder(n).half() for n in (5, 7))
    out = torch.zeros(2)
    dot(a, b, out, turns=3)
    assert out.tolist() == [3 * float((a.float() @ b.float().T).sum())] * 2


@interpreted
def test_the_empty_kernel_can_be_launched(torch: ModuleType) -> None:
    from validation.microbench.kernels.empty import empty, empty_kernel

    assert torch.__name__ == "torch"
    assert empty_kernel.__name__ == "empty_kernel"
    empty()
