"""Pipes of the CUDA cores: exp2, and beside it FMA and conversion, in results per clock and SM.

Each is a chain of that one instruction (MUFU.EX2, FFMA, F2FP) in registers. A conversion packs two
float32 numbers into one word of bf16, as attention kernels do: two results.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from gpusim.spec.gpu import Gpu
from validation.microbench.benchmark import Benchmark, Reading
from validation.microbench.stamps import Stamps, per_sm_per_clock, stamped, turns

#: CTAs of 8 warps per SM.
CTAS_PER_SM = 2
#: Field of the profile and results of one instruction, by the chain's operation.
OPERATIONS = {
    "exp2": ("pipes.exp2_per_clock", 1),
    "fma": ("pipes.fp32_per_clock", 1),
    "convert": ("pipes.convert_per_clock", 2),
}
INSTRUCTIONS = {"exp2": "ex2.approx.ftz.f32", "fma": "fma.rn.f32", "convert": "cvt.rn.bf16x2.f32"}


def readings(launches: Mapping[str, tuple[Sequence[Stamps], float]]) -> list[Reading]:
    """From stamps and instructions (times lanes) of a CTA, by operation."""
    found = []
    for operation, (stamps, count) in launches.items():
        name, results = OPERATIONS[operation]
        rates = [per_sm_per_clock(one, count * results) for one in stamps]
        how = f"chain of {INSTRUCTIONS[operation]}"
        found.append(Reading(name=name, value=float(np.median(rates)), how=how))
    return found


def measure(gpu: Gpu, quick: bool) -> list[Reading]:
    """Run the three chains."""
    import torch

    from validation.microbench.kernels.chain import TILE, TURN, chain

    ctas = gpu.sm.count * CTAS_PER_SM
    out = torch.empty(ctas, device="cuda")
    expected = {
        "exp2": gpu.pipes.exp2_per_clock,
        "fma": gpu.pipes.fp32_per_clock,
        "convert": gpu.pipes.convert_per_clock,
    }
    launches = {}
    for operation, per_clock in expected.items():
        count = turns(TILE * TURN * CTAS_PER_SM, per_clock)

        def launch(stamps: torch.Tensor, operation: str = operation, count: int = count) -> None:
            chain(out, operation, turns=count, stamps=stamps)

        stamps = stamped(launch, ctas, 5 if quick else 15)
        launches[operation] = (stamps, float(TILE * TURN * count))
    return readings(launches)


EXP2 = Benchmark(
    name="exp2",
    fields=lambda _: tuple(name for name, _ in OPERATIONS.values()),
    plan=lambda *_: f"chains of exp2, FMA, float32 to bf16; {CTAS_PER_SM} CTAs of 8 warps per SM",
    measure=measure,
)
