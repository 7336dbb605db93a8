"""Clocks of a pass of a loop: its instructions, walked in order by the warps of an SM.

A warp issues an instruction when its last one's stall count is over, the barriers it waits for are
free, and its scheduler (one instruction a clock, the warp's number modulo four) and the pipe are.
Branches inside the loop are walked through. Nothing else is modelled: no instruction cache, no
register banks, and the only bank conflicts are those of byte stores.
"""

import heapq
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from gpusim.spec.gpu import Gpu
from validation import instruction_times as times
from validation.control_words import BARRIERS, Control
from validation.instruction_times import LANES, SCHEDULERS, Use

#: Passes of each warp in a long and a short walk; what more passes take is neither start nor end.
LONG, SHORT = 6, 2


@dataclass(frozen=True, slots=True)
class Step:
    """An instruction of the loop: its opcode, what it holds, and how it is scheduled."""

    opcode: str
    use: Use
    control: Control

    @property
    def verb(self) -> str:
        """The first word of the opcode."""
        return self.opcode.split(".")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What is beyond the SM.

    Attributes:
        l2_clocks: until a load that misses L1 is there.
        local_clocks: until a spilled register is.
        port_bytes: that come in from L2 in a clock; None for any number of them.
    """

    l2_clocks: float
    local_clocks: float = times.L1_CLOCKS
    port_bytes: float | None = None


@dataclass(slots=True)
class _Warp:
    """Where a warp is, and when (in clocks) what it waits for is there."""

    number: int
    cta: int
    next: float = 0.0
    place: int = 0
    done: int = 0
    barriers: list[float] = field(default_factory=lambda: [0.0] * BARRIERS)
    copies: float = 0.0
    accumulators: float = 0.0


def steps(opcodes: Sequence[str], controls: Sequence[Control], gpu: Gpu) -> list[Step]:
    """The instructions of a loop as a GPU executes them."""
    pairs = zip(opcodes, controls, strict=True)
    return [Step(opcode, times.use(opcode, gpu), control) for opcode, control in pairs]


def pass_clocks(
    loop: Sequence[Step], gpu: Gpu, memory: Memory, *, warps: int, ctas: int = 1
) -> float:
    """Clocks by which a pass more lengthens the walk, with `ctas` CTAs of `warps` warps each."""
    ends = [_Sm(loop, gpu, memory, warps=warps, ctas=ctas).walk(passes) for passes in (SHORT, LONG)]
    return (ends[1] - ends[0]) / (LONG - SHORT)


class _Sm:
    """An SM on which all warps begin the loop at once."""

    def __init__(
        self, loop: Sequence[Step], gpu: Gpu, memory: Memory, *, warps: int, ctas: int
    ) -> None:
        self.loop, self.memory, self.warps_per_cta = loop, memory, warps
        self.warps = [_Warp(i, i // warps) for i in range(warps * ctas)]
        self.matrix_clocks = [times.warpgroup_clocks(step.opcode, gpu) for step in loop]
        self.schedulers = [0.0] * SCHEDULERS
        self.pipes: defaultdict[tuple[int, str], float] = defaultdict(float)
        self.unit = self.port = self.tensor = 0.0
        self.loaded: set[tuple[int, int]] = set()
        self.products: dict[tuple[int, int, int], float] = {}
        self.arrived: defaultdict[int, list[_Warp]] = defaultdict(list)

    def walk(self, passes: int) -> float:
        """Let the warp that is ready first issue; when the last warp has made its passes."""
        queue = [(0.0, warp.number) for warp in self.warps]
        while queue:
            clock, number = heapq.heappop(queue)
            warp = self.warps[number]
            step, slot = self.loop[warp.place], number % SCHEDULERS
            pipe = slot, step.use.pipe
            start = max(clock, self.ready(warp, step), self.schedulers[slot], self.pipes[pipe])
            if start > clock:  # others may issue before
                heapq.heappush(queue, (start, number))
                continue
            self.schedulers[slot], self.pipes[pipe] = start + 1, start + step.use.clocks
            self.issue(warp, step, start)
            for going in self.advance(warp, step, passes):
                heapq.heappush(queue, (going.next, going.number))
        return max(warp.next for warp in self.warps)

    def ready(self, warp: _Warp, step: Step) -> float:
        """When the warp itself has all that an instruction waits for."""
        waits = [warp.barriers[barrier] for barrier in step.control.waits]
        if step.verb == "DEPBAR":
            waits.append(warp.copies)
        if step.opcode.startswith("WARPGROUP.DEPBAR"):
            waits.append(warp.accumulators)
        return max([warp.next, *waits])

    def issue(self, warp: _Warp, step: Step, start: float) -> None:
        """Take what an instruction holds, and note when its barriers are free."""
        written = self.result(warp, step, start)
        if matrix := self.matrix_clocks[warp.place]:
            warp.accumulators = max(warp.accumulators, self.multiply(warp, start, matrix))
        taken = start + times.OPERAND_CLOCKS
        if step.use.passes:
            taken = max(taken, self.unit + times.STORED_OPERAND_CLOCKS)
        for barrier, clock in (
            (step.control.written, written),
            (step.control.read, min(written, taken)),
        ):
            if barrier is not None:
                warp.barriers[barrier] = max(warp.barriers[barrier], clock)
        warp.next = start + max(1, step.control.stall)

    def result(self, warp: _Warp, step: Step, start: float) -> float:
        """When an instruction has written its result."""
        if not step.use.passes:
            return start + (times.SPECIAL_CLOCKS if step.verb == "MUFU" else times.OTHER_CLOCKS)
        begin = max(self.unit, start + times.TO_MEMORY_CLOCKS)
        self.unit = begin + step.use.passes
        if step.verb in {"LDG", "LDGSTS"}:
            return self.load(warp, step, begin)
        if step.verb == "LDL":
            return begin + self.memory.local_clocks
        if step.verb in {"SHFL", "REDUX"}:
            return self.unit + times.SHUFFLE_CLOCKS
        return self.unit + times.SMEM_CLOCKS - times.TO_MEMORY_CLOCKS

    def load(self, warp: _Warp, step: Step, begin: float) -> float:
        """When a load from global memory is there.

        One of 8 bytes a lane reads page numbers: the first of a CTA in a pass brings the others'.
        """
        width = times.width_bytes(step.opcode)
        if step.verb == "LDG" and width == 8:
            key = warp.cta, warp.done
            first = key not in self.loaded
            self.loaded.add(key)
            return begin + (self.memory.l2_clocks if first else times.L1_CLOCKS)
        transfer = LANES * width / self.memory.port_bytes if self.memory.port_bytes else 0.0
        self.port = max(self.port, begin) + transfer
        there = self.port + self.memory.l2_clocks
        if step.verb == "LDGSTS":
            warp.copies = max(warp.copies, there)
        return there

    def multiply(self, warp: _Warp, start: float, clocks: float) -> float:
        """When a warpgroup's accumulators may be read; its first warp starts the product."""
        key = warp.number // SCHEDULERS, warp.done, warp.place
        if key not in self.products:
            self.tensor = max(self.tensor, start) + clocks
            self.products[key] = self.tensor
        return self.products[key] + times.ACCUMULATOR_CLOCKS

    def advance(self, warp: _Warp, step: Step, passes: int) -> list[_Warp]:
        """Go to the next instruction; the warps that may issue it, all of a CTA after a barrier."""
        warp.place += 1
        if warp.place == len(self.loop):
            warp.place, warp.done = 0, warp.done + 1
            if warp.done == passes:
                return []
        if step.verb != "BAR":
            return [warp]
        arrived = self.arrived[warp.cta]
        arrived.append(warp)
        if len(arrived) < self.warps_per_cta:
            return []
        leave = max(other.next for other in arrived) + times.BARRIER_CLOCKS
        for other in arrived:
            other.next = leave
        self.arrived[warp.cta] = []
        return arrived
