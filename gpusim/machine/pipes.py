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
        fill: beside the steps, once a work item.
        shares: share of `alone` by cause (pipe, 'sync', 'load_latency'); they add up to 1.
    """

    alone: float
    shared: float
    floor: float
    fill: float
    shares: dict[str, float]

    def per_cta(self, residents: int) -> float:
        """Clocks from one step of a CTA to its next, with so many CTAs on the SM."""
        return max(self.alone, residents * self.shared)

    def causes(self, residents: int) -> dict[str, float]:
        """Share of that time by cause: a CTA that waits for others' pipes hides its own waits."""
        if residents * self.shared <= self.alone:
            return self.shares
        pipes = {n: s for n, s in self.shares.items() if n not in ("sync", "load_latency")}
        total = sum(pipes.values())
        return {name: share / total for name, share in pipes.items()}


_RATES = {
    Pipe.EXP2: "exp2_per_clock",
    Pipe.FP32: "fp32_per_clock",
    Pipe.CONVERT: "convert_per_clock",
    Pipe.SMEM: "smem_bytes_per_clock",
    Pipe.SHUFFLE: "shuffle_per_clock",
    Pipe.ISSUE: "issue_warps_per_clock",
}


def pipe_rate(gpu: Gpu, step: Step, pipe: Pipe) -> float:
    """What a pipe does per clock and SM.

    Raises:
        SpecError: if the GPU has no such matrix instruction.
    """
    if pipe is Pipe.TENSOR:
        return tensor_rate(gpu, step.matrix_path, step.matrix_dtype)
    rate: float = getattr(gpu.pipes, _RATES[pipe])
    return rate


def tensor_rate(gpu: Gpu, path: str, dtype: str) -> float:
    """Matrix FLOP per clock and SM on an instruction path, as kernels reach it."""
    tensor = gpu.tensor
    rates = tensor.wgmma_flop_per_clock if path == "wgmma" else tensor.mma_sync_flop_per_clock
    if not rates:
        raise SpecError(f"expected a GPU with {path} instructions, found {gpu.name}")
    if dtype not in rates:
        raise SpecError(
            f"{gpu.name}: expected a data type with {path} ({', '.join(rates)}), found {dtype}"
        )
    return rates[dtype] * (1.0 if path == "wgmma" else tensor.mma_sync_achieved_fraction)


def step_time(gpu: Gpu, step: Step, *, latency_clocks: float) -> StepTime:
    """Time of one step.

    A part takes as long as its slowest pipe; the parts of a track follow one another. Matrix parts
    hide all but a fraction x of the others: `overlap.softmax_exposed_fraction` in one track,
    `tracks_exposed_fraction` between tracks that run freely, `ping_pong_exposed_fraction` between
    tracks that take turns. With m = Σ matrix parts, c = Σ other parts, over all tracks:

        serial = max(m + x·c, longest track alone)
        chain  = (loads·latency + bytes/port) / stages + load_clocks
                                                            (what the load stages fail to hide)
        alone  = max(serial + syncs·sync_clocks, chain)     (their sum if loads do not run ahead)
        shared = max(serial / co_resident_gain, floor)      (floor without matrix parts)
        fill   = (1 - x)·c with several tracks, once an item: its first softmax hides behind nothing

    Where the step's instructions are known, serial is the time of their chain, and shared that of
    an SM that they keep busy.

    A pipe's total, the floor, is a bound that overlap approaches, not the prediction: two FA2 CTAs
    on one A100 SM run 1.15 times as fast as one, where the pipe totals would allow 1.48 times.
    """
    tracks = [
        [(part, _part_clocks(gpu, step, part)) for part in track if not part.hidden]
        for track in step.tracks
    ]
    parts = [pair for track in tracks for pair in track]
    matrix = sum(clocks for part, clocks in parts if _is_matrix(part))
    other = sum(clocks for part, clocks in parts if not _is_matrix(part))
    exposed = _exposed_fraction(gpu, step) if step.total(Pipe.TENSOR) else 1.0
    longest = max(sum(clocks for _, clocks in track) for track in tracks)
    overlapped = matrix + exposed * other
    serial = max(overlapped, longest) if len(tracks) > 1 else overlapped
    if step.code:
        serial = step.code.chain_clocks
    port = step.load_bytes / gpu.l2.port_bytes_per_clock_per_sm
    chain = (step.loads * latency_clocks + port) / step.stages + step.load_clocks
    sync = step.syncs * gpu.cta.sync_clocks
    alone = max(serial + sync, chain) if step.prefetch else serial + sync + chain
    totals = {p: step.total(p) / pipe_rate(gpu, step, p) for p in Pipe if step.total(p)}
    floor = max(port, *totals.values())
    shares: dict[str, float] = {"sync": sync, "load_latency": alone - serial - sync}
    for part, clocks in parts:
        pipe = max(part.amounts, key=lambda p: part.amounts[p] / pipe_rate(gpu, step, p))
        weight = clocks * (1.0 if _is_matrix(part) else exposed) * serial / overlapped
        shares[pipe.value] = shares.get(pipe.value, 0.0) + weight
    shared = max(serial / gpu.overlap.co_resident_gain, floor) if matrix else floor
    if step.code:
        alone, shared = max(alone, floor), max(step.code.busy_clocks, floor)
    return StepTime(
        alone=alone,
        shared=shared,
        floor=floor,
        fill=(1 - exposed) * other if len(tracks) > 1 else 0.0,
        shares={name: value / alone for name, value in shares.items() if value > 0},
    )


def _exposed_fraction(gpu: Gpu, step: Step) -> float:
    overlap = gpu.overlap
    if len(step.tracks) == 1:
        return overlap.softmax_exposed_fraction
    if step.ping_pong:
        return overlap.ping_pong_exposed_fraction
    return overlap.tracks_exposed_fraction


def _is_matrix(part: Part) -> bool:
    """Whether a part counts with the matrix work, which nothing hides."""
    return part.exposed or part.amounts.get(Pipe.TENSOR, 0.0) > 0


def _part_clocks(gpu: Gpu, step: Step, part: Part) -> float:
    return max(amount / pipe_rate(gpu, step, pipe) for pipe, amount in part.amounts.items())
