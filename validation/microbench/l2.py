"""L2: what it gives all SMs together and one SM alone, and how much of it is of use.

Rates: CTAs read a buffer again and again, past L1, each its own part; bytes per SM clock from first
start to last end. All SMs at once give `l2.bytes_per_clock`, and its share of an SM; one CTA of 32
warps gives what the port of an SM takes.

Useful capacity: the model lets the share of misses rise in a straight line from 0 at a reuse
distance of `hit_mib` to 1 at `miss_mib`. Bandwidth cannot show that share, since a few misses hide
behind the hits; latency can. So every SM runs a chain of dependent loads over a buffer of one
footprint after another, each SM its own part, as a replay finds it: ns per load grow in proportion
to the misses. The line goes through the footprints where 10 % and 90 % of the loads miss.
"""

from collections.abc import Sequence

import numpy as np

from gpusim.spec.gpu import Gpu
from gpusim.units import KIB, MIB, NS_PER_US, ceil_div
from validation.microbench.benchmark import Benchmark, Reading
from validation.microbench.stamps import Stamps, per_clock, per_sm_per_clock, stamped, turns
from validation.timing import time_call

#: CTAs of 8 warps per SM when all read, and bytes each reads before it goes on.
CTAS_PER_SM, CHUNK_BYTES = 4, 16 * KIB
#: Buffer of the SM that reads alone: beyond any L1.
ALONE_MIB = 2
#: Footprints over L2 capacity: two that hit, the slope, two that miss.
HITS, MISSES = (0.15, 0.25), (2.0, 2.5)
SLOPE_FROM, SLOPE_TO = 0.4, 1.5
#: Bytes of a load of the chain, and loads of an SM in one launch.
LOAD_BYTES, LOADS = 512, 2000


def shared_mib(gpu: Gpu) -> float:
    """Buffer that all SMs read: equal parts of all CTAs, up to a quarter of L2."""
    part = gpu.sm.count * CTAS_PER_SM * CHUNK_BYTES / MIB
    return max(1, int(gpu.l2.capacity_mib / 4 / part)) * part


def footprints(gpu: Gpu, quick: bool) -> tuple[float, ...]:
    """Footprints of the sweep in MiB, in equal parts of all SMs."""
    step = 0.1 if quick else 0.05
    slope = np.arange(SLOPE_FROM, SLOPE_TO + step / 2, step)
    part = gpu.sm.count * LOAD_BYTES / MIB
    wanted = (float(share) * gpu.l2.capacity_mib for share in (*HITS, *slope, *MISSES))
    return tuple(round(mib / part) * part for mib in wanted)


def miss_shares(load_ns: Sequence[float]) -> list[float]:
    """Share of loads that miss, by footprint: 0 as the first two, 1 as the last two.

    >>> miss_shares([200, 200, 250, 300, 300])
    [0.0, 0.0, 0.5, 1.0, 1.0]
    """
    hit, miss = float(np.mean(load_ns[: len(HITS)])), float(np.mean(load_ns[-len(MISSES) :]))
    return [(ns - hit) / (miss - hit) for ns in load_ns]


def useful_mib(sizes: Sequence[float], shares: Sequence[float]) -> tuple[float, float]:
    """`hit_mib` and `miss_mib`: the line through shares of 10 % and 90 %, drawn out to 0 and 1.

    10 % is where the share first exceeds it, 90 % where it last does; between two footprints the
    share is taken as straight.

    >>> useful_mib([10, 20, 30, 40, 50, 60], [0, 0, 0.25, 0.75, 1, 1])
    (21.25, 48.75)
    """
    first = next(i for i, share in enumerate(shares) if i and share > 0.1)
    last = max(i for i, share in enumerate(shares) if share < 0.9)
    low = float(np.interp(0.1, shares[first - 1 : first + 1], sizes[first - 1 : first + 1]))
    high = float(np.interp(0.9, shares[last : last + 2], sizes[last : last + 2]))
    beyond = (high - low) / 8
    return low - beyond, high + beyond


def rates(
    together: Sequence[Stamps], alone: Sequence[Stamps], work: float, own: float
) -> list[Reading]:
    """The two rates: median over launches that read `work` and, alone, `own` bytes."""
    whole = float(np.median([per_clock(stamps, work) for stamps in together]))
    port = float(np.median([per_sm_per_clock(stamps, own) for stamps in alone]))
    return [
        Reading(name="l2.bytes_per_clock", value=whole, how="all SMs, each its own part"),
        Reading(name="l2.port_bytes_per_clock_per_sm", value=port, how="one CTA of 32 warps"),
    ]


def measure(gpu: Gpu, quick: bool) -> list[Reading]:
    """Rates, then the sweep."""
    sizes = footprints(gpu, quick)
    load_ns = [_load_ns(gpu, mib) for mib in sizes]
    hit, miss = useful_mib(sizes, miss_shares(load_ns))
    how = f"loads of {load_ns[0]:.0f} ns in L2 and {load_ns[-1]:.0f} ns beyond"
    return [
        *_rates(gpu, repeats=5 if quick else 15),
        Reading(name="l2.hit_mib", value=hit, how=how),
        Reading(name="l2.miss_mib", value=miss, how=how),
    ]


def _rates(gpu: Gpu, repeats: int) -> list[Reading]:
    import torch

    from validation.microbench.kernels.read import ALONE, TOGETHER, read

    ctas = gpu.sm.count * CTAS_PER_SM
    x = torch.rand(round(shared_mib(gpu) * MIB) // 4, device="cuda")
    out = torch.empty(ctas, device="cuda")
    passes = turns(x.numel() * 4, gpu.l2.bytes_per_clock)
    small, one = x[: ALONE_MIB * MIB // 4], out[:1]
    passes_alone = turns(small.numel() * 4, gpu.l2.port_bytes_per_clock_per_sm)
    together = stamped(
        lambda stamps: read(x, out, TOGETHER, stamps=stamps, passes=passes), ctas, repeats
    )
    alone = stamped(
        lambda stamps: read(small, one, ALONE, stamps=stamps, passes=passes_alone), 1, repeats
    )
    return rates(together, alone, x.numel() * 4 * passes, small.numel() * 4 * passes_alone)


def _load_ns(gpu: Gpu, mib: float) -> float:
    """Time of one load of the chain, replay after replay."""
    import torch

    from validation.microbench.kernels.read import CHAIN_TILE, chained_read

    x = torch.zeros(round(mib * MIB) // 4, dtype=torch.int32, device="cuda")
    out = torch.empty(gpu.sm.count * CHAIN_TILE, dtype=torch.int32, device="cuda")
    loads = x.numel() // out.numel()
    passes = ceil_div(LOADS, loads)
    timing = time_call(lambda: chained_read(x, out, passes=passes), l2="warm", repeats=5)
    return timing.median_us * NS_PER_US / (loads * passes)


L2 = Benchmark(
    name="l2",
    fields=lambda _: (
        "l2.bytes_per_clock",
        "l2.port_bytes_per_clock_per_sm",
        "l2.hit_mib",
        "l2.miss_mib",
    ),
    plan=lambda gpu, quick: (
        f"{shared_mib(gpu):.2f} MiB by all SMs, {ALONE_MIB} MiB by one; dependent loads over "
        f"{len(footprints(gpu, quick))} footprints, {footprints(gpu, quick)[0]:.1f} to "
        f"{footprints(gpu, quick)[-1]:.0f} MiB"
    ),
    measure=measure,
)
