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

from gpusim.schedules.launch import Launch, Operand, Rereads, footprint, tensor_bytes
from gpusim.schedules.loops import grid_rereads
from gpusim.spec.gpu import Gpu
from gpusim.units import MIB

#: Shares by tensor name.
Shares = dict[str, float]


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
    most = footprint(launches)
    scratch = [_scratch_misses(launch, gpu) for launch in launches]
    firsts = _first_misses(launches, gpu, slots, scratch, most, warm=warm)
    result = miss(gpu, most) if warm else 1.0
    outs = _write_backs(launches, firsts, scratch, result=result)
    return tuple(
        Traffic(
            hbm_read_bytes=sum(
                o.unique_bytes * first[o.name] + _missed(o, _rereads(la, o, running), gpu)
                for o in la.reads
            ),
            hbm_write_bytes=sum(
                o.unique_bytes * out[o.name] + _missed(o, o.rereads or (), gpu) for o in la.writes
            ),
            requested_bytes=la.requested_bytes,
        )
        for la, running, first, out in zip(launches, slots, firsts, outs, strict=True)
    )


def _missed(operand: Operand, rereads: Rereads, gpu: Gpu) -> float:
    """HBM bytes of touches after the first."""
    missed = sum(part * miss(gpu, distance) for part, distance in rereads)
    return float(min(operand.again_bytes, missed))


def _rereads(launch: Launch, operand: Operand, slots: int) -> Rereads:
    if operand.rereads is not None or not operand.again_bytes:
        return operand.rereads or ()
    return grid_rereads(launch, operand, slots)


def _first_misses(
    launches: tuple[Launch, ...],
    gpu: Gpu,
    slots: tuple[int, ...],
    scratch: list[Shares],
    most: float,
    *,
    warm: bool,
) -> list[Shares]:
    """Share that misses of the first touch of what each launch reads.

    A tensor comes back after what passed through L2 since its last touch: from its first byte,
    which all that the earlier launch touched after it came behind, to its last, which all that this
    launch touches comes before. A tensor that several launches touch passes once, and no more than
    all of the call's, `most`. A launch that wrote the tensor in a single wave leaves nothing behind
    it, since all its CTAs store at the end; copies store as they read.
    """
    names = [tensor_bytes((launch,)) for launch in launches]
    feet = [sum(sizes.values()) for sizes in names]
    # Launches of the replay before count from -1 backwards, as their places do in Python.
    touched = {n: i - len(launches) for i, own in enumerate(names) for n in own} if warm else {}
    firsts = []
    for i, launch in enumerate(launches):
        first = {o.name: scratch[i].get(o.name, 1.0) for o in launch.reads}
        for name in (first.keys() & touched.keys()) - scratch[i].keys():
            j = touched[name]
            passed = footprint(tuple(launches[k] for k in range(i - 1, j, -1)))
            ends = passed + feet[j] * _left_behind(launches[j], slots[j], name), passed + feet[i]
            first[name] = miss(gpu, min(*ends, most), min(max(ends), most))
        firsts.append(first)
        touched |= dict.fromkeys(names[i], i)
    return firsts


def _left_behind(launch: Launch, slots: int, name: str) -> float:
    """Share of what a launch touches that passes L2 after the first byte of a tensor of it."""
    wrote = not launch.plain and any(o.name == name for o in launch.writes)
    return max(0.0, 1 - slots / launch.work.num_items) if wrote else 1.0


def _scratch_misses(launch: Launch, gpu: Gpu) -> Shares:
    """Share that misses of what a launch itself writes and then reads."""
    return {
        o.name: miss(gpu, o.scratch_distance)
        for o in launch.writes
        if o.scratch_distance is not None
    }


def _write_backs(
    launches: tuple[Launch, ...], firsts: list[Shares], scratch: list[Shares], *, result: float
) -> list[Shares]:
    """Share of what each launch writes that reaches HBM.

    What this or a later launch of the call reads is scratch, written again by the next call: it
    goes out only if it is evicted before it is read. A result goes out in the end, unless the next
    replay overwrites it in L2: the share `result`.
    """
    outs: list[Shares] = []
    next_read: Shares = {}
    for launch, first, own in zip(launches[::-1], firsts[::-1], scratch[::-1], strict=True):
        outs.append({o.name: next_read.get(o.name, result) for o in launch.writes} | own)
        next_read |= first
    return outs[::-1]
