"""How long one main-loop step takes, from what it asks of the pipes."""

from dataclasses import dataclass

from gpusim.errors import SpecError
from gpusim.schedules.step import Part, Pipe, Step
from gpusim.spec.gpu import Gpu


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """Time of one step, in SM clocks.

    Attributes:
        alone: for a CTA that has the SM to itself.
        shared: of the SM per step when several CTAs keep it busy.
        floor: what the busiest pipe needs at the least, however well all overlaps.
        shares: share of `alone` by cause (pipe, 'sync', 'load_latency'); they add up to 1.
    """

    alone: float
    shared: float
    floor: float
    shares: dict[str, float]

    def per_cta(self, residents: int) -> float:
        """Clocks from one step of a CTA to its next, with so many CTAs on the SM."""
        return max(self.alone, residents * self.shared)


def pipe_rate(gpu: Gpu, step: Step, pipe: Pipe) -> float:
    """What a pipe does per clock and SM.

    Raises:
        SpecError: if the GPU has no such matrix instruction.
    """
    if pipe is Pipe.TENSOR:
        return tensor_rate(gpu, step.matrix_path, step.matrix_dtype)
    pipes = gpu.pipes
    return {
        Pipe.EXP2: pipes.exp2_per_clock,
        Pipe.FP32: pipes.fp32_per_clock,
        Pipe.CONVERT: pipes.convert_per_clock,
        Pipe.SMEM: pipes.smem_bytes_per_clock,
    }[pipe]


def tensor_rate(gpu: Gpu, path: str, dtype: str) -> float:
    """Matrix FLOP per clock and SM on an instruction path, as kernels reach it."""
    tensor = gpu.tensor
    rates = tensor.wgmma_flop_per_clock if path == "wgmma" else tensor.mma_sync_flop_per_clock
    if dtype not in rates:
        raise SpecError(
            f"{gpu.name}: expected a data type with {path} ({', '.join(rates)}), found {dtype}"
        )
    return rates[dtype] * (1.0 if path == "wgmma" else tensor.mma_sync_achieved_fraction)


def step_time(gpu: Gpu, step: Step, *, latency_clocks: float) -> StepTime:
    """Time of one step.

    A part takes as long as its slowest pipe; the parts of a track follow one another. Where the
    step has matrix parts, they hide all but `overlap.softmax_exposed_fraction` of the others. With
    m = Σ matrix parts, c = Σ other parts, x = that fraction:

        serial = m + x·c                                    (longest track)
        chain  = (loads·latency + bytes/port) / stages      (what the load stages fail to hide)
        alone  = max(serial + syncs·sync_clocks, chain)
        shared = max(serial / co_resident_gain, floor)      (all tracks together)

    A pipe's total, the floor, is a bound that overlap approaches, not the prediction: two FA2 CTAs
    on one A100 SM run 1.15 times as fast as one, where the pipe totals would allow 1.48 times.
    """
    times = [[(part, _part_clocks(gpu, step, part)) for part in track] for track in step.tracks]
    has_matrix = step.total(Pipe.TENSOR) > 0
    exposed = gpu.overlap.softmax_exposed_fraction if has_matrix else 1.0
    tracks = [
        sum(clocks * (1.0 if _is_matrix(part) else exposed) for part, clocks in track)
        for track in times
    ]
    serial = max(tracks)
    port = step.load_bytes / gpu.l2.port_bytes_per_clock_per_sm
    chain = (step.loads * latency_clocks + port) / step.stages
    sync = step.syncs * gpu.cta.sync_clocks
    alone = max(serial + sync, chain)
    totals = {p: step.total(p) / pipe_rate(gpu, step, p) for p in Pipe if step.total(p)}
    floor = max(port, *totals.values())
    shared = max(sum(tracks) / gpu.overlap.co_resident_gain, floor)
    shares: dict[str, float] = {"sync": sync, "load_latency": alone - serial - sync}
    longest = times[tracks.index(serial)]
    for part, clocks in longest:
        pipe = max(part.amounts, key=lambda p: part.amounts[p] / pipe_rate(gpu, step, p))
        weight = clocks * (1.0 if _is_matrix(part) else exposed)
        shares[pipe.value] = shares.get(pipe.value, 0.0) + weight
    return StepTime(
        alone=alone,
        shared=shared,
        floor=floor,
        shares={name: value / alone for name, value in shares.items() if value > 0},
    )


def _is_matrix(part: Part) -> bool:
    return part.amounts.get(Pipe.TENSOR, 0.0) > 0


def _part_clocks(gpu: Gpu, step: Step, part: Part) -> float:
    return max(amount / pipe_rate(gpu, step, pipe) for pipe, amount in part.amounts.items())
