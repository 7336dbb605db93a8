"""What of a launch's requests L2 answers, and what goes to HBM.

One rule everywhere: bytes are found in L2 if fewer than its useful capacity have passed through it
since they were last touched (LRU by reuse distance):

    miss(x) = clip((x - hit) / (miss - hit), 0, 1)     (`l2.hit_mib`, `l2.miss_mib`)

It is applied three times: to the first touch of a tensor in a launch (distance back to the launch
that last touched it, in this call or, when warm, in the replay before); to walks over the same KV
by CTAs that do not run at the same time; and to writes (a dirty line that the next replay
overwrites in L2 never reaches HBM).
"""

from dataclasses import dataclass

from gpusim.schedules.launch import Launch, Operand
from gpusim.spec.gpu import Gpu
from gpusim.units import MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Bytes of one launch by level."""

    hbm_read_bytes: float
    hbm_write_bytes: float
    requested_bytes: float

    @property
    def hbm_bytes(self) -> float:
        """Bytes over the HBM bus, both ways."""
        return self.hbm_read_bytes + self.hbm_write_bytes

    @property
    def hbm_fraction(self) -> float:
        """HBM bytes per byte requested."""
        return self.hbm_bytes / self.requested_bytes if self.requested_bytes else 0.0


def miss(gpu: Gpu, distance: float) -> float:
    """Share of accesses at this reuse distance (bytes) that miss L2."""
    hit, full = gpu.l2.hit_mib * MIB, gpu.l2.miss_mib * MIB
    if distance <= hit:
        return 0.0
    return min(1.0, (distance - hit) / (full - hit))


def count_traffic(
    launches: tuple[Launch, ...], gpu: Gpu, slots: tuple[int, ...], *, warm: bool
) -> tuple[Traffic, ...]:
    """Traffic of each launch of a call.

    Args:
        launches: in order.
        gpu: for its L2.
        slots: CTAs of each launch that the whole GPU holds at once.
        warm: the same call with the same buffers ran just before.
    """
    feet = [sum(o.unique_bytes for o in (*la.reads, *la.writes)) for la in launches]
    return tuple(
        Traffic(
            hbm_read_bytes=sum(
                o.unique_bytes * miss(gpu, _distance(i, o.name, launches, feet, slots, warm))
                + _repeated_walks(la, o, gpu, slots[i])
                for o in la.reads
            ),
            hbm_write_bytes=sum(
                o.unique_bytes * _write_back(i, o.name, launches, feet, slots, gpu, warm)
                for o in la.writes
            ),
            requested_bytes=la.requested_bytes,
        )
        for i, la in enumerate(launches)
    )


def _touches(launch: Launch, name: str) -> bool:
    return any(o.name == name for o in (*launch.reads, *launch.writes))


def _distance(
    i: int,
    name: str,
    launches: tuple[Launch, ...],
    feet: list[float],
    slots: tuple[int, ...],
    warm: bool,
) -> float:
    """Bytes through L2 between the launch that last touched a tensor and its place in launch i.

    Half of each of the two launches lies between, on average; of one that wrote the tensor in a
    single wave nothing, since all its CTAs store at the end.
    """
    history = list(range(i)) if not warm else [*range(i, len(launches)), *range(i)]
    between: float = 0.0
    for j in reversed(history):
        if _touches(launches[j], name):
            wrote = any(o.name == name for o in launches[j].writes)
            waves_left = max(0.0, 1 - slots[j] / launches[j].work.num_items) if wrote else 1.0
            return float(between + feet[i] / 2 + feet[j] / 2 * waves_left)
        between += feet[j]
    return float("inf")


def _write_back(
    i: int,
    name: str,
    launches: tuple[Launch, ...],
    feet: list[float],
    slots: tuple[int, ...],
    gpu: Gpu,
    warm: bool,
) -> float:
    """Share of a written tensor that reaches HBM.

    What a later launch of the call reads goes out only if it is evicted before; a result goes out
    in the end, unless the next replay overwrites it in L2.
    """
    for j in range(i + 1, len(launches)):
        if _touches(launches[j], name):
            return miss(gpu, _distance(j, name, launches, feet, slots, warm=False))
    return miss(gpu, sum(feet)) if warm else 1.0


def _repeated_walks(launch: Launch, operand: Operand, gpu: Gpu, slots: int) -> float:
    """HBM bytes of walks over the same stream that come too late to find it in L2.

    CTAs of one wave walk a stream together: one read. With k CTAs a stream in each of g heads
    (GQA), P CTAs a head over the whole batch and S slots, a stream is walked

        in a head:   max(1, k/S) times, the stream itself apart
        by heads:    g times if P > S, else max(1, g·P/S) times, one head's tensors apart

    CTAs that themselves walk a tensor several times come back to it after all that the CTAs running
    with them have walked.
    """
    work = launch.work
    repeated = operand.requested_bytes - operand.unique_bytes
    if repeated <= 0:
        return 0.0
    if operand.walks > 1:
        resident = operand.unique_bytes * min(1.0, slots / launch.num_ctas)
        return operand.unique_bytes * (operand.walks - 1) * miss(gpu, resident)
    g = operand.heads_per_stream
    per_head = work.num_items / work.heads
    streams = float(work.copies.sum()) * max(1, work.heads // g)
    in_head = max(1.0, per_head / float(work.copies.sum()) / slots)
    passes = g if per_head > slots else max(1.0, g * per_head / slots)
    stream = operand.unique_bytes / streams
    others = launch.requested_bytes - operand.requested_bytes
    head = operand.unique_bytes * g / work.heads + others / work.heads * g / passes
    again = operand.unique_bytes * (
        (in_head - 1) * passes * miss(gpu, stream) + (passes - 1) * miss(gpu, head)
    )
    return float(min(repeated, again))
