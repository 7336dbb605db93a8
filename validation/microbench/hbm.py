"""Device memory: how fast it streams to the SMs.

Buffers are so many times L2 that what a replay leaves there is at most 1/64 of the next. The model
means by `hbm.sustained_gb_per_s` what decode kernels get when they stream KV, which is a read; a
copy is shown beside it.
"""

from collections.abc import Mapping

from gpusim.spec.gpu import Gpu
from gpusim.units import GB, MIB, US_PER_S
from validation.microbench.benchmark import Benchmark, Reading
from validation.timing import time_call

#: Buffer over L2 capacity, and CTAs of 8 warps per SM.
TIMES_L2 = (64, 128)
CTAS_PER_SM = (4, 8)


def buffers_mib(gpu: Gpu, quick: bool) -> tuple[int, ...]:
    """Sizes of the buffer in MiB."""
    return tuple(int(n * gpu.l2.capacity_mib) for n in (TIMES_L2[:1] if quick else TIMES_L2))


def fastest(read_us: Mapping[tuple[int, int], float]) -> Reading:
    """The highest rate of all medians, by size in MiB and CTAs per SM."""
    rates = {key: mib_per_us(key[0], us) for key, us in read_us.items()}
    mib, ctas = max(rates, key=lambda key: rates[key])
    return Reading(
        name="hbm.sustained_gb_per_s",
        value=rates[mib, ctas],
        how=f"read of {mib} MiB, {ctas} CTAs of 8 warps per SM",
    )


def mib_per_us(mib: float, us: float) -> float:
    """GB/s of so many MiB in so many us.

    >>> mib_per_us(1000, 1048.576)
    1000.0
    """
    return mib * MIB / us * US_PER_S / GB


def measure(gpu: Gpu, quick: bool) -> list[Reading]:
    """Read each buffer with each number of CTAs; copy half of the greatest into the other half."""
    import torch

    from validation.microbench.kernels.read import read

    sizes = buffers_mib(gpu, quick)
    x = torch.rand(sizes[-1] * MIB // 4, device="cuda")
    times = {}
    for mib in sizes:
        part = x[: mib * MIB // 4]
        for ctas in CTAS_PER_SM:
            out = torch.empty(gpu.sm.count * ctas, device="cuda")

            def call(part: torch.Tensor = part, out: torch.Tensor = out) -> None:
                read(part, out)

            times[mib, ctas] = time_call(call, l2="warm").median_us
    half = x.numel() // 2
    copied = time_call(lambda: x[:half].copy_(x[half:]), l2="warm").median_us
    copy = Reading(
        name="copy, GB/s read and written",
        value=mib_per_us(sizes[-1], copied),
        how=f"{sizes[-1] // 2} MiB to {sizes[-1] // 2} MiB",
    )
    return [fastest(times), copy]


HBM = Benchmark(
    name="hbm",
    fields=lambda _: ("hbm.sustained_gb_per_s",),
    plan=lambda gpu, quick: (
        f"read of {' and '.join(str(n) for n in buffers_mib(gpu, quick))} MiB, "
        f"{' and '.join(str(n) for n in CTAS_PER_SM)} CTAs per SM; copy"
    ),
    measure=measure,
)
