"""Tensor cores: FLOP per clock and SM of both instruction paths.

Operands of mma.sync (m16n8k16, float32 sums) stay in registers: loading them is counted apart in
the model. Its rate by the nominal one is `tensor.mma_sync_achieved_fraction`, at most 1. wgmma
(m64n256, float32 sums) reads its operands from shared memory; the model takes the wgmma rates as
reached, so what is measured stands for them. Operands are random: power depends on them, and with
it the clock, but not the rate per clock.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gpusim.spec.gpu import Gpu
from validation.microbench.benchmark import Benchmark, Reading
from validation.microbench.stamps import Stamps, per_sm_per_clock, stamped, turns

if TYPE_CHECKING:
    import torch

#: CTAs of four warps per SM: one warp waits while another's instruction runs.
CTAS_PER_SM = 2
#: Types that are measured on each path, as far as the profile has a rate for them.
MMA_TYPES, WGMMA_TYPES = ("bf16", "fp16"), ("bf16", "fp16", "fp8")
#: The type whose share stands for all.
SHARE_OF = "bf16"
TORCH_TYPES = {"fp16": "float16", "bf16": "bfloat16", "fp8": "float8_e4m3fn"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixWork:
    """A launch of as many CTAs as it is given rows of stamps, and the FLOP of each."""

    launch: "Callable[[torch.Tensor], None]"
    flop_per_cta: float


def types(gpu: Gpu, path: str) -> tuple[str, ...]:
    """Data types to measure on a path."""
    if path == "wgmma":
        return tuple(t for t in WGMMA_TYPES if t in gpu.tensor.wgmma_flop_per_clock)
    return tuple(t for t in MMA_TYPES if t in gpu.tensor.mma_sync_flop_per_clock)


def rate(launches: Sequence[Stamps], flop_per_cta: float) -> float:
    """FLOP per clock and SM: median over launches."""
    return float(np.median([per_sm_per_clock(stamps, flop_per_cta) for stamps in launches]))


def readings(gpu: Gpu, rates: Mapping[tuple[str, str], float]) -> list[Reading]:
    """From FLOP per clock and SM by path and type."""
    found = []
    for (path, dtype), flop in rates.items():
        if path == "wgmma":
            name = f"tensor.wgmma_flop_per_clock.{dtype}"
            found.append(Reading(name=name, value=flop, how="tl.dot, 64 x 256 x 128"))
            continue
        share = flop / gpu.tensor.mma_sync_flop_per_clock[dtype]
        how = f"{dtype} m16n8k16, {flop:.0f} FLOP per clock and SM"
        if dtype == SHARE_OF:
            name = "tensor.mma_sync_achieved_fraction"
            found.append(Reading(name=name, value=min(1.0, share), how=how))
        else:
            found.append(Reading(name=f"mma.sync {dtype}, share reached", value=share, how=how))
    return found


def measure(gpu: Gpu, quick: bool) -> list[Reading]:
    """Both paths, type by type."""
    rates = {}
    for path in ("mma_sync", "wgmma"):
        for dtype in types(gpu, path):
            work = matrix_work(gpu, path, dtype)
            ctas = gpu.sm.count * CTAS_PER_SM
            launches = stamped(work.launch, ctas, 5 if quick else 15)
            rates[path, dtype] = rate(launches, work.flop_per_cta)
    return readings(gpu, rates)


def matrix_work(gpu: Gpu, path: str, dtype: str) -> MatrixWork:
    """About 1 ms of matrix products with all CTAs."""
    import torch

    from validation.microbench.kernels import matrix

    form = getattr(torch, TORCH_TYPES[dtype])
    out = torch.empty(gpu.sm.count * CTAS_PER_SM, device="cuda")
    if path == "wgmma":
        m, n, k = matrix.WGMMA_TILE
        a, b = (torch.randn(rows, k, device="cuda").to(form) for rows in (m, n))
        flop, expected = matrix.WGMMA_TURN_FLOP, gpu.tensor.wgmma_flop_per_clock[dtype]
    else:
        a = torch.randn(matrix.MMA_OPERANDS, device="cuda").to(form)
        flop, expected = matrix.MMA_TURN_FLOP, gpu.tensor.mma_sync_flop_per_clock[dtype]
    count = turns(flop * CTAS_PER_SM, expected)

    def launch(stamps: torch.Tensor) -> None:
        if path == "wgmma":
            matrix.dot(a, b, out[: len(stamps)], turns=count, stamps=stamps)
        else:
            matrix.mma(a, out[: len(stamps)], stamps, turns=count)

    return MatrixWork(launch=launch, flop_per_cta=flop * count)


def fields(gpu: Gpu) -> tuple[str, ...]:
    """The share of mma.sync, and the wgmma rates that the GPU has."""
    wgmma = (f"tensor.wgmma_flop_per_clock.{t}" for t in types(gpu, "wgmma"))
    return ("tensor.mma_sync_achieved_fraction", *wgmma)


def plan(gpu: Gpu, _: bool) -> str:
    """Paths and types in words."""
    paths = {"mma.sync": types(gpu, "mma_sync"), "wgmma": types(gpu, "wgmma")}
    words = [f"{path} {' and '.join(known)}" for path, known in paths.items() if known]
    return f"{', '.join(words)}; {CTAS_PER_SM} CTAs of 4 warps per SM"


TENSOR = Benchmark(name="tensor", fields=fields, plan=plan, measure=measure)
