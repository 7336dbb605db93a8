"""How long one main-loop step takes, from what it asks of the pipes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpusim.machine.pipes import pipe_rate
from gpusim.schedules.columns import Floats, Ints, Number
from gpusim.schedules.step import Part, Pipe, Step
from gpusim.spec.gpu import Gpu

#: What a step's time can go to: pipes, barriers, and loads that the stages fail to hide.
CAUSES = ("sync", "load_latency", *(pipe.value for pipe in Pipe))


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCost:
    """What a step costs whatever its loads wait for, in SM clocks.

    Attributes:
        step: the step.
        serial: along its tracks.
        sync: of its barriers.
        port: of its bytes through the SM's port to L2.
        shared: of the SM per step when several CTAs keep it busy.
        floor: what the busiest pipe needs at the least, however well all overlaps.
        fill: beside the steps, once a work item.
        causes: what of `serial` and `sync` goes to each of `CAUSES`.
    """

    step: Step
    serial: float
    sync: float
    port: float
    shared: float
    floor: float
    fill: float
    causes: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTimes:
    """Times of steps in SM clocks: columns, an entry per launch.

    Attributes:
        alone: for a CTA that has the SM to itself.
        shared, fill: see `StepCost`.
        causes: clocks by each of `CAUSES`, which are the second axis; where instructions are known
            and the floor decides, they say in which proportion.
    """

    alone: Floats
    shared: Floats
    fill: Floats
    causes: Floats

    def shares(self, residents: Ints) -> Floats:
        """Share of the time of a step by cause, with so many CTAs on the SM.

        A CTA that waits for others' pipes hides its own waits.
        """
        waits = len(CAUSES) - len(Pipe)
        busy = self.causes[:, waits:].any(axis=1)  # no pipe is, where all work is hidden
        hidden = busy & (residents * self.shared > self.alone)
        clocks = self.causes.copy()
        clocks[hidden, :waits] = 0.0
        shares: Floats = clocks / clocks.sum(axis=1, keepdims=True)
        return shares


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """Time of one step, in SM clocks; see `StepCost`. `shares` are those of `alone`, by cause."""

    alone: float
    shared: float
    floor: float
    fill: float
    shares: dict[str, float]

    def per_cta(self, residents: int) -> float:
        """Clocks from one step of a CTA to its next, with so many CTAs on the SM."""
        return float(per_cta(self.alone, self.shared, residents))


def per_cta(alone: Number, shared: Number, residents: Ints | int) -> Floats:
    """`StepTime.per_cta` of columns."""
    clocks: Floats = np.maximum(alone, residents * shared)
    return clocks


def step_cost(gpu: Gpu, step: Step) -> StepCost:
    """What a step costs whatever its loads wait for.

    A part takes as long as its slowest pipe; the parts of a track follow one another. Matrix parts
    hide all but a fraction x of the others: `overlap.softmax_exposed_fraction` in one track,
    `tracks_exposed_fraction` between tracks that run freely, `ping_pong_exposed_fraction` between
    tracks that take turns. With m = Σ matrix parts, c = Σ other parts, over all tracks:

        serial = max(m + x·c, longest track alone)
        shared = max(serial / co_resident_gain, floor)      (floor without matrix parts)
        fill   = (1 - x)·c with several tracks, once an item: its first softmax hides behind nothing

    Where the step's instructions are known, serial is the time of their chain, and shared that of
    an SM that they keep busy.

    A pipe's total, the floor, is a bound that overlap approaches, not the prediction: two FA2 CTAs
    on one A100 SM run 1.15 times as fast as one, where the pipe totals would allow 1.48 times.

    Raises:
        SpecError: if the GPU has no such matrix instruction.
    """
    tracks = [
        [(part, *_slowest(gpu, step, part)) for part in track if not part.hidden]
        for track in step.tracks
    ]
    parts = [timed for track in tracks for timed in track]
    matrix = sum(clocks for part, _, clocks in parts if _is_matrix(part))
    other = sum(clocks for part, _, clocks in parts if not _is_matrix(part))
    exposed = _exposed_fraction(gpu, step) if step.total(Pipe.TENSOR) else 1.0
    longest = max(sum(clocks for *_, clocks in track) for track in tracks)
    overlapped = matrix + exposed * other
    serial = max(overlapped, longest) if len(tracks) > 1 else overlapped
    if step.code:
        serial = step.code.chain_clocks
    port = step.load_bytes / gpu.l2.port_bytes_per_clock_per_sm
    floor = max(port, *(step.total(p) / pipe_rate(gpu, step, p) for p in Pipe if step.total(p)))
    shared = max(serial / gpu.overlap.co_resident_gain, floor) if matrix else floor
    causes = dict.fromkeys(CAUSES, 0.0)
    causes["sync"] = step.syncs * gpu.cta.sync_clocks
    for part, pipe, clocks in parts:
        causes[pipe.value] += clocks * (1.0 if _is_matrix(part) else exposed) * serial / overlapped
    return StepCost(
        step=step,
        serial=serial,
        sync=causes["sync"],
        port=port,
        shared=max(step.code.busy_clocks, floor) if step.code else shared,
        floor=floor,
        fill=(1 - exposed) * other if len(tracks) > 1 else 0.0,
        causes=tuple(causes.values()),
    )


def step_times(costs: Sequence[StepCost], latency_clocks: Floats) -> StepTimes:
    """Times of steps, each with what one of its loads waits, in clocks.

        chain = (loads·latency + bytes/port) / stages + load_clocks
                                                            (what the load stages fail to hide)
        alone = max(serial + sync, chain)                   (their sum if loads do not run ahead)

    Where the step's instructions are known, alone is no less than the floor.
    """
    serial, sync, port, shared, fill, least, loads, stages, load_clocks, ahead = np.array(
        [
            (
                *(c.serial, c.sync, c.port, c.shared, c.fill, c.floor if c.step.code else 0.0),
                *(c.step.loads, c.step.stages, c.step.load_clocks, c.step.prefetch),
            )
            for c in costs
        ]
    ).T
    chain = (loads * latency_clocks + port) / stages + load_clocks
    own = serial + sync
    waited = np.where(ahead, np.maximum(own, chain), own + chain)
    causes = np.array([c.causes for c in costs])
    causes[:, CAUSES.index("load_latency")] = waited - own
    return StepTimes(alone=np.maximum(waited, least), shared=shared, fill=fill, causes=causes)


def step_time(gpu: Gpu, step: Step, *, latency_clocks: float) -> StepTime:
    """Time of one step; see `step_cost` and `step_times`."""
    cost = step_cost(gpu, step)
    return step_at(step_times((cost,), np.array([latency_clocks])), (cost,), 0)


def step_at(times: StepTimes, costs: Sequence[StepCost], index: int) -> StepTime:
    """One of the steps."""
    alone = float(times.alone[index])
    clocks = zip(CAUSES, times.causes[index].tolist(), strict=True)
    return StepTime(
        alone=alone,
        shared=costs[index].shared,
        floor=costs[index].floor,
        fill=costs[index].fill,
        shares={name: value / alone for name, value in clocks if value > 0},
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


def _slowest(gpu: Gpu, step: Step, part: Part) -> tuple[Pipe, float]:
    """The pipe that decides, and its clocks."""
    clocks = {pipe: amount / pipe_rate(gpu, step, pipe) for pipe, amount in part.amounts.items()}
    pipe = max(clocks, key=lambda name: clocks[name])
    return pipe, clocks[pipe]
