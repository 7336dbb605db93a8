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
    feet = [_footprint(la) for la in launches]
    return tuple(
        Traffic(
            hbm_read_bytes=sum(
                o.unique_bytes * miss(gpu, _distance(i, o.name, launches, feet, slots, warm))
                + _repeated_walks(la, o, gpu, slots[i])
                for o in la.reads
            ),
            hbm_write_bytes=sum(
                o.unique_bytes * _write_back(i, o.name, launches, feet, slots, gpu, warm)
                + _rewrites(la, o, gpu, slots[i])
                for o in la.writes
            ),
            requested_bytes=la.requested_bytes,
        )
        for i, la in enumerate(launches)
    )


def _touches(launch: Launch, name: str) -> bool:
    return any(o.name == name for o in (*launch.reads, *launch.writes))


def _footprint(launch: Launch) -> float:
    """Distinct bytes that a launch touches; a tensor that it reads and writes counts once."""
    sizes: dict[str, float] = {}
    for o in (*launch.reads, *launch.writes):
        sizes[o.name] = max(o.unique_bytes, sizes.get(o.name, 0.0))
    return sum(sizes.values())


def _running(launch: Launch, slots: int) -> float:
    """Share of a launch's CTAs that run at once."""
    return min(1.0, slots / launch.num_ctas)


def _scratch_distance(launch: Launch, name: str, slots: int) -> float | None:
    """Bytes between write and read of what a launch itself writes and then reads, if it does."""
    reuse = next((o.reuse_bytes for o in launch.writes if o.name == name), None)
    return None if reuse is None else reuse * _running(launch, slots)


def _rewrites(launch: Launch, operand: Operand, gpu: Gpu, slots: int) -> float:
    """HBM bytes of writes to a tensor whose lines have left L2 since it was last written."""
    again = operand.requested_bytes - operand.unique_bytes
    touches = (o for o in (operand, *launch.reads) if o.name == operand.name)
    reuse = next((o.reuse_bytes for o in touches if o.reuse_bytes is not None), None)
    return 0.0 if reuse is None else again * miss(gpu, reuse * _running(launch, slots))


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
    scratch = _scratch_distance(launches[i], name, slots[i])
    if scratch is not None:
        return scratch
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

    What this or a later launch of the call reads is scratch, written again by the next call: it
    goes out only if it is evicted before it is read. A result goes out in the end, unless the next
    replay overwrites it in L2.
    """
    scratch = _scratch_distance(launches[i], name, slots[i])
    if scratch is not None:
        return miss(gpu, scratch)
    for j in range(i + 1, len(launches)):
        if any(o.name == name for o in launches[j].reads):
            return miss(gpu, _distance(j, name, launches, feet, slots, warm=False))
    return miss(gpu, sum(feet)) if warm else 1.0


def _rounds(splits: int, ctas: float, slots: int) -> float:
    """Times that the grid comes back to the same streams after all others (query splits)."""
    if splits == 1:
        return 1.0
    return splits if ctas / splits > slots else max(1.0, ctas / slots)


def _repeated_walks(launch: Launch, operand: Operand, gpu: Gpu, slots: int) -> float:
    """HBM bytes of walks over the same stream that come too late to find it in L2.

    CTAs of one wave walk a stream together: one read. With k CTAs a stream in each of g heads
    (GQA), P CTAs a head over the whole batch and S slots, a stream is walked

        in a head:   max(1, k/S) times, the stream itself apart
        by heads:    g times if P > S, else max(1, g·P/S) times, one head's tensors apart
        or, where a sequence's heads follow one another (`heads_inner`), max(1, g·k/S) times
        by splits:   all that again, for s query splits of N CTAs in all s times if N/s > S, else
                     max(1, N/S) times, the tensors of all heads apart

    CTAs that themselves walk a tensor several times come back to it after all that the CTAs running
    with them have walked. Where the schedule knows the distance between two touches with all its
    CTAs at work (`reuse_bytes`), it counts in the share of them that run at once.
    """
    work = launch.work
    repeated = operand.requested_bytes - operand.unique_bytes
    if repeated <= 0:
        return 0.0
    if operand.reuse_bytes is not None:
        return repeated * miss(gpu, operand.reuse_bytes * _running(launch, slots))
    if operand.walks > 1:
        resident = operand.unique_bytes * _running(launch, slots)
        return min(repeated, operand.unique_bytes * (operand.walks - 1)) * miss(gpu, resident)
    g = operand.heads_per_stream
    sequences = float(work.copies.sum())
    ctas = work.num_items if work.owner is None else launch.num_ctas
    grid = ctas / operand.query_splits
    per_head = grid / work.heads
    stream = operand.unique_bytes / sequences / max(1, work.heads // g)
    if work.heads_inner:
        walks = max(1.0, g * per_head / sequences / slots)
        return float(min(repeated, operand.unique_bytes * (walks - 1) * miss(gpu, stream)))
    in_head = max(1.0, per_head / sequences / slots)
    passes = g if per_head > slots else max(1.0, g * per_head / slots)
    others = sum(
        o.requested_bytes if o.reuse_bytes is None else o.unique_bytes
        for o in (*launch.reads, *launch.writes)
        if o is not operand
    )
    rounds = _rounds(operand.query_splits, ctas, slots)
    head = operand.unique_bytes * g / work.heads + others / work.heads * g / passes
    again = operand.unique_bytes * (
        ((in_head - 1) * passes * miss(gpu, stream) + (passes - 1) * miss(gpu, head)) * rounds
        + (rounds - 1) * miss(gpu, operand.unique_bytes + others / rounds)
    )
    return float(min(repeated, again))
