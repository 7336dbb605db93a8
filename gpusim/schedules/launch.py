"""One kernel launch: its resources, its step, its work and the tensors it touches. No clock."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gpusim.schedules.step import Pipe, Step
from gpusim.schedules.work import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Operand:
    """A tensor that a launch reads or writes.

    Attributes:
        name: the same in two launches for the same tensor (the second may find it in L2).
        unique_bytes: distinct bytes touched.
        requested_bytes: bytes asked from L2, re-reads included.
        heads_per_stream: consecutive heads of the work's loops that read the same bytes (GQA).
        query_splits: CTAs of a head and sequence that read the same bytes, in the grid's order all
            other heads and sequences apart (FlashAttention-1).
        reuse_bytes: what passes through L2 between two touches of the same byte in this launch,
            where the schedule knows it; None: the order of the work decides.
        walks: times that a CTA itself goes over its share.
    """

    name: str
    unique_bytes: float
    requested_bytes: float
    heads_per_stream: int = 1
    query_splits: int = 1
    walks: float = 1.0
    reuse_bytes: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One kernel launch.

    A launch starts when the one before it has ended. Idle slots pull the next item of `work` in its
    order: the hardware's CTA dispatcher, or the workers of a persistent kernel. If `work.owner` is
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
        return self.work.total(self.work.tiles.steps) * self.step.total(pipe)

    @property
    def requested_bytes(self) -> float:
        """Bytes asked from L2 or sent to it."""
        return sum((o.requested_bytes for o in (*self.reads, *self.writes)), 0.0)


def footprint(launches: tuple[Launch, ...]) -> float:
    """Bytes of all tensors that the launches of a call touch, each once."""
    sizes: dict[str, float] = {}
    for launch in launches:
        for operand in (*launch.reads, *launch.writes):
            sizes[operand.name] = max(sizes.get(operand.name, 0.0), operand.unique_bytes)
    return sum(sizes.values())
