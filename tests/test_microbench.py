"""Microbenchmarks without a GPU: what readings become, the timer, kernels interpreted.

The kernels run in Triton's interpreter, without the clock and the instructions that only a GPU has.
"""

import ctypes
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from gpusim.spec.load import load_gpu, shipped
from validation import sm_clock, timing
from validation.microbench import clock, exp2, hbm, l2, launch, stamps, tensor
from validation.sm_clock import SmClock
from validation.timing import Timing, time_call


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


def test_l2_rates_are_medians_of_launches() -> None:
    alone = np.array([stamp(3, (0, 1000), (0, 500))])
    found = {r.name: r.value for r in l2.rates([STAMPS] * 3, [alone], 8000, 64_000)}
    assert found == {
        "l2.bytes_per_clock": 2.0,
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
    found = launch.readings([1, 2, 3, 4], [1, 2, 3, 4], [], 14.0)
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
    assert Timing.of([3.0, 1.0, 2.0]) == Timing(
        median_us=2.0, low_us=1.4, high_us=2.6, samples=3, calls=1
    )


@pytest.mark.parametrize(
    ("once_us", "calls", "count"), [(4.0, 13, 192), (0.5, 50, 400), (80.0, 1, 125)]
)
def test_short_calls_share_a_graph_that_takes_longer_than_its_launch(
    monkeypatch: pytest.MonkeyPatch, once_us: float, calls: int, count: int
) -> None:
    told: list[tuple[int, int]] = []

    def replayed(graph: int, times: int, meanwhile: Callable[[], object] = list) -> float:
        meanwhile()
        told.append((graph, times))
        return max(9.0, graph * once_us)

    monkeypatch.setattr(timing, "_warm_up", lambda call: call())
    monkeypatch.setattr(timing, "_captured", lambda _, calls: calls)
    monkeypatch.setattr(timing, "_replays_us", replayed)
    read: list[None] = []
    found = time_call(lambda: None, l2="warm", repeats=3, meanwhile=lambda: read.append(None))
    assert found.median_us == pytest.approx(once_us)
    assert (found.samples, found.calls) == (3, calls)
    assert told[-3:] == [(calls, count)] * 3
    assert len(read) == 1


def test_the_sm_clock_is_unknown_without_nvml_and_after_a_slow_reading(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(_: str) -> ctypes.CDLL:
        raise OSError

    class Nvml:
        waits = 0.0

        def nvmlInit_v2(self) -> int:
            return 0

        def nvmlDeviceGetHandleByUUID(self, uuid: bytes, _: object) -> int:
            return int(uuid != b"GPU-1")

        def nvmlDeviceGetClockInfo(self, _: object, kind: int, found: Any) -> int:
            time.sleep(self.waits)
            found._obj.value = 1980 if kind == sm_clock.SM_CLOCK else 0
            return 0

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert SmClock("GPU-1").mhz() is None
    nvml = Nvml()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: nvml)
    monkeypatch.setattr(sm_clock, "SLOW_S", 0.02)
    assert SmClock("GPU-2").mhz() is None
    clock = SmClock("GPU-1")
    assert [clock.mhz(), clock.mhz()] == [1980, 1980]
    nvml.waits = 0.05
    assert [clock.mhz(), clock.mhz()] == [1980, None]


def test_timing_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="l2: expected 'warm' or 'cold', found 'hot'"):
        time_call(lambda: None, l2="hot")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="repeats: expected 1 or more, found 0"):
        time_call(lambda: None, l2="warm", repeats=0)


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
