"""One kernel launch: its resources, its step, its work and the tensors it touches. No clock."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gpusim.schedules.step import Pipe, Step
from gpusim.schedules.work import Work, dealt

#: Requests for bytes that the launch has touched before, in parts: how many bytes, and their reuse
#: distance, the bytes that pass through L2 between the two touches.
Rereads = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operand:
    """A tensor that a launch reads or writes.

    Attributes:
        name: the same in two launches for the same tensor (the second may find it in L2).
        unique_bytes: distinct bytes touched.
        requested_bytes: bytes asked from L2, re-reads included.
        heads_per_stream: consecutive heads of the work's loops that read the same bytes (GQA).
        rereads: what is requested again (of a write, rewritten) and may have left L2 by then; the
            rest is found there. None: for a read, what the loops of the grid come back to
            (`loops.grid_rereads`); for a write, nothing.
        scratch_distance: for a tensor that the launch itself writes before it reads it, the reuse
            distance between the two; None: it reads what was there before, if anything.
    """

    name: str
    unique_bytes: float
    requested_bytes: float
    heads_per_stream: int = 1
    rereads: Rereads | None = None
    scratch_distance: float | None = None

    @property
    def again_bytes(self) -> float:
        """Bytes requested beyond the first touch."""
        return max(0.0, self.requested_bytes - self.unique_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One kernel launch.

    A launch starts when the one before it has ended. Idle slots pull the next item of `work` in its
    order: the hardware's CTA dispatcher, or the workers of a persistent kernel. If `work.lists` is
    given, each worker does its own items instead.

    Attributes:
        name: kernel name, as in a profiler.
        threads, registers, smem_bytes: per CTA (registers per thread), for occupancy.
        step: what one main-loop step costs.
        work: the items.
        tile: what the schedule chose, for the reader of a result.
        workers: CTAs of a persistent kernel; None: a CTA per item.
        merge_bytes: read to merge one peer's partial result (`work.peers`).
        programmatic: launched early (programmatic dependent launch), so that no gap precedes it.
        plain: its CTAs only copy, so that nothing but their loads delays them (`cta.latency_ns`
            holds for CTAs that fetch queries, page tables and a first tile).
        lead_us: spent before the launch, beside the gap between kernels.
        item_clocks: an item waits so long beside `cta.latency_ns`: its kernel finds the next one,
            or starts more slowly than others.
        item_amounts: what an item asks of pipes once, beside its steps. The CTAs of an SM come to
            it together, so that each waits for all of them.
        reads, writes: tensors touched; bytes of `work` and of the operands agree.
    """

    name: str
    threads: int
    registers: int
    smem_bytes: int
    step: Step
    work: Work
    reads: tuple[Operand, ...]
    writes: tuple[Operand, ...]
    tile: Mapping[str, int] = field(default_factory=dict)
    workers: int | None = None
    merge_bytes: float = 0.0
    programmatic: bool = False
    plain: bool = False
    lead_us: float = 0.0
    item_clocks: float = 0.0
    item_amounts: Mapping[Pipe, float] = field(default_factory=dict)

    @property
    def num_ctas(self) -> int:
        """CTAs in the grid."""
        return self.work.num_items if self.workers is None else self.workers

    @property
    def issued_flop(self) -> float:
        """Matrix FLOP that the launch executes, padding and masked tiles included."""
        return self.amount(Pipe.TENSOR)

    def amount(self, pipe: Pipe) -> float:
        """What the whole launch asks of a pipe."""
        items = self.work.num_items * self.item_amounts.get(pipe, 0.0)
        return self.work.total_steps * self.step.total(pipe) + items

    def amounts(self) -> dict[Pipe, float]:
        """The same for every pipe that it asks for something."""
        used = (pipe for pipe in Pipe if self.step.total(pipe) or pipe in self.item_amounts)
        return {pipe: amount for pipe in used if (amount := self.amount(pipe))}

    @property
    def requested_bytes(self) -> float:
        """Bytes asked from L2 or sent to it."""
        return sum((o.requested_bytes for o in (*self.reads, *self.writes)), 0.0)


#: Launches of a call, in order.
Launches = tuple[Launch, ...]


def persistent(launch: Launch, slots: int, *, static: bool) -> Launch:
    """The launch by at most so many workers that draw items, or with `static` take every n-th."""
    workers = min(launch.work.num_items, slots)
    work = dealt(launch.work, workers) if static else launch.work
    return replace(launch, work=work, workers=workers)


def once(name: str, size: float) -> Operand:
    """A tensor of so many bytes, each touched once."""
    return Operand(name=name, unique_bytes=size, requested_bytes=size)


def tensor_bytes(launches: Launches) -> dict[str, float]:
    """Distinct bytes of each tensor that the launches touch, by its name."""
    sizes: dict[str, float] = {}
    for launch in launches:
        for operand in (*launch.reads, *launch.writes):
            sizes[operand.name] = max(sizes.get(operand.name, 0.0), operand.unique_bytes)
    return sizes


def footprint(launches: Launches) -> float:
    """Bytes of all tensors that the launches of a call touch, each once."""
    return sum(tensor_bytes(launches).values())
