"""What of a launch's requests L2 answers, and what goes to HBM.

One rule everywhere: bytes are found in L2 if fewer than its useful capacity have passed through it
since they were last touched (LRU by reuse distance):

    miss(x) = clip((x - hit) / (miss - hit), 0, 1)     (`l2.hit_mib`, `l2.miss_mib`)

    HBM bytes of a tensor = unique · miss(first) + sum of again · miss(distance)

The first touch is as far from the launch that last touched the tensor, in this call or, when warm,
in the replay before. What is touched again within the launch comes in parts of so many bytes at a
distance: from the schedule (`Operand.rereads`), else from the loops of the grid. Of what is
written, `first` is the distance to its read, or to the next replay that overwrites it: a dirty line
that is overwritten in L2 never reaches HBM.
"""

from dataclasses import dataclass

from gpusim.schedules.launch import Launch, Operand, Rereads, footprint
from gpusim.schedules.loops import grid_rereads
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


def miss(gpu: Gpu, nearest: float, farthest: float | None = None) -> float:
    """Share of accesses that miss L2, at one reuse distance (bytes) or evenly spread over a range.

    >>> from gpusim.spec.load import load_gpu
    >>> gpu = load_gpu("a100_sxm_80gb")
    >>> miss(gpu, gpu.l2.hit_mib * MIB, gpu.l2.miss_mib * MIB)
    0.5
    """
    hit, full = gpu.l2.hit_mib * MIB, gpu.l2.miss_mib * MIB

    def missed(distance: float) -> float:
        """The integral of the ramp up to a distance."""
        inside = min(max(0.0, distance - hit), full - hit)
        return inside * inside / (full - hit) / 2 + max(0.0, distance - full)

    if farthest is None or farthest == nearest:
        return min(1.0, max(0.0, (nearest - hit) / (full - hit)))
    return min(1.0, (missed(farthest) - missed(nearest)) / (farthest - nearest))


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
    feet = [footprint((la,)) for la in launches]
    return tuple(
        Traffic(
            hbm_read_bytes=sum(
                o.unique_bytes * miss(gpu, *_distances(i, o.name, launches, feet, slots, warm))
                + _missed(o, _rereads(la, o, slots[i]), gpu)
                for o in la.reads
            ),
            hbm_write_bytes=sum(
                o.unique_bytes * _write_back(i, o.name, launches, feet, slots, gpu, warm)
                + _missed(o, o.rereads or (), gpu)
                for o in la.writes
            ),
            requested_bytes=la.requested_bytes,
        )
        for i, la in enumerate(launches)
    )


def _touches(launch: Launch, name: str) -> bool:
    return any(o.name == name for o in (*launch.reads, *launch.writes))


def _scratch_distance(launch: Launch, name: str) -> float | None:
    """Bytes between write and read of what a launch itself writes and then reads, if it does."""
    return next((o.scratch_distance for o in launch.writes if o.name == name), None)


def _missed(operand: Operand, rereads: Rereads, gpu: Gpu) -> float:
    """HBM bytes of touches after the first."""
    missed = sum(part * miss(gpu, distance) for part, distance in rereads)
    return float(min(operand.again_bytes, missed))


def _rereads(launch: Launch, operand: Operand, slots: int) -> Rereads:
    return grid_rereads(launch, operand, slots) if operand.rereads is None else operand.rereads


def _distances(
    i: int,
    name: str,
    launches: tuple[Launch, ...],
    feet: list[float],
    slots: tuple[int, ...],
    warm: bool,
) -> tuple[float, float]:
    """Bytes through L2 from a tensor's last touch by a launch to its place in launch i.

    From the tensor's first byte, which all that the earlier launch touched after it came behind, to
    its last, which all that launch i touches comes before. A tensor that several launches touch
    passes once, and no more than all of the call's. A launch that wrote the tensor in a single wave
    leaves nothing behind it, since all its CTAs store at the end; copies store as they read.
    """
    scratch = _scratch_distance(launches[i], name)
    if scratch is not None:
        return scratch, scratch
    history = list(range(i)) if not warm else [*range(i, len(launches)), *range(i)]
    between: tuple[Launch, ...] = ()
    for j in reversed(history):
        if _touches(launches[j], name):
            wrote = any(o.name == name for o in launches[j].writes) and not launches[j].plain
            waves_left = max(0.0, 1 - slots[j] / launches[j].work.num_items) if wrote else 1.0
            passed, most = footprint(between), footprint(launches)
            first, last = passed + feet[j] * waves_left, passed + feet[i]
            return min(first, last, most), min(max(first, last), most)
        between = (*between, launches[j])
    return float("inf"), float("inf")


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
    scratch = _scratch_distance(launches[i], name)
    if scratch is not None:
        return miss(gpu, scratch)
    for j in range(i + 1, len(launches)):
        if any(o.name == name for o in launches[j].reads):
            return miss(gpu, *_distances(j, name, launches, feet, slots, warm=False))
    return miss(gpu, footprint(launches)) if warm else 1.0
