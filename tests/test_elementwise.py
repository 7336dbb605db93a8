"""Kernels that touch each element once."""

import pytest

from gpusim import load_gpu
from gpusim.machine.place import place
from gpusim.schedules.elementwise import copy_launch

MB = 10**6


def test_a_copy_moves_its_bytes_in_ctas_of_8_kib() -> None:
    launch = copy_launch("silu_and_mul", read_bytes=2 * MB, write_bytes=MB)
    assert launch.num_ctas == 245  # 2,000,000 / 8192, rounded up
    assert launch.requested_bytes == pytest.approx(3 * MB)
    assert [o.unique_bytes for o in (*launch.reads, *launch.writes)] == pytest.approx([2 * MB, MB])


def test_a_large_copy_goes_at_the_speed_of_hbm() -> None:
    gpu = load_gpu("h100_sxm")
    launch = copy_launch("norm", read_bytes=800 * MB, write_bytes=800 * MB)
    (placed,) = place((launch,), gpu, load="steady", warm=False)
    assert placed.traffic.hbm_bytes == pytest.approx(1600 * MB)


def test_a_kernel_may_only_write() -> None:
    assert copy_launch("zero", read_bytes=0, write_bytes=100).num_ctas == 1


def test_a_kernel_moves_something() -> None:
    with pytest.raises(ValueError, match="norm: expected bytes to read or write, found none"):
        copy_launch("norm", read_bytes=0, write_bytes=0)
