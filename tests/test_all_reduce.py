"""Tensor-parallel all-reduce: worked examples, and what must hold on every profile."""

import pytest

from gpusim import SpecError, load_gpu
from gpusim.machine.all_reduce import CUSTOM_LIMIT_BYTES, all_reduce_us
from gpusim.spec.load import shipped
from gpusim.units import KIB, MIB

PROFILES = list(shipped("hardware"))


def test_a_pair_reads_its_peer_in_one_stage() -> None:
    """A100: 5.0 us + 1 MiB over 0.69 x 300 GB/s."""
    gpu = load_gpu("a100_sxm_80gb")
    assert all_reduce_us(gpu, MIB, 2) == pytest.approx(5.0 + 1048576 / 207e3)


def test_small_sums_take_one_stage_and_larger_ones_two() -> None:
    """A100, eight GPUs: all of seven peers below 256 KiB, then 7/8 of the bytes twice."""
    gpu = load_gpu("a100_sxm_80gb")
    stage = 5.0 + 6 * 0.145
    small, large = 128 * KIB, 256 * KIB
    assert all_reduce_us(gpu, small, 8) == pytest.approx(stage + 7 * small / 207e3)
    assert all_reduce_us(gpu, large, 8) == pytest.approx(2 * stage + 1.75 * large / 207e3)


def test_large_sums_go_round_a_ring_or_through_the_switch() -> None:
    """A100: 46 us + 14 steps + 7/4 of the bytes. H100: 9/8 of them through the switch."""
    size = 128 * MIB
    ring = 46 + 14 * 1.6 + 1.75 * size / (0.69 * 300e3)
    assert all_reduce_us(load_gpu("a100_sxm_80gb"), size, 8) == pytest.approx(ring)
    switch = 17.4 + 14 * 4.0 + 1.125 * size / (0.67 * 450e3)
    assert all_reduce_us(load_gpu("h100_sxm"), size, 8) == pytest.approx(switch)


def test_more_than_a_pair_share_the_host_where_there_is_no_nvlink() -> None:
    """L40S, four GPUs: six steps, and six times the bytes over 15.6 GB/s in all."""
    expected = 4.9 + 6 * 1.3 + 6 * MIB / 15.6e3
    assert all_reduce_us(load_gpu("l40s"), MIB, 4) == pytest.approx(expected)


@pytest.mark.parametrize("name", PROFILES)
def test_one_gpu_adds_nothing_up_and_more_bytes_never_take_less(name: str) -> None:
    gpu = load_gpu(name)
    assert all_reduce_us(gpu, MIB, 1) == 0
    for gpus in (2, 4, 8):
        times = [all_reduce_us(gpu, 2**power, gpus) for power in range(7, 30)]
        assert times == sorted(times)
        assert times[0] > 0


@pytest.mark.parametrize("name", PROFILES)
def test_no_sum_is_faster_than_the_wire(name: str) -> None:
    """Each GPU takes in at least S·(n - 1)/n, or the sum once from a switch."""
    gpu = load_gpu(name)
    rate = max(gpu.link.nvlink_gb_per_s, gpu.link.pcie_gb_per_s) * 1e3
    for gpus in (2, 4, 8):
        for size in (KIB, MIB, CUSTOM_LIMIT_BYTES, 256 * MIB):
            assert all_reduce_us(gpu, size, gpus) >= (gpus - 1) / gpus * size / rate


def test_a_node_has_eight_gpus() -> None:
    with pytest.raises(SpecError, match="expected at most 8 GPUs of a node, found 16"):
        all_reduce_us(load_gpu("h100_sxm"), MIB, 16)
