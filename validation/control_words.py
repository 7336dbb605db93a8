"""What the compiler tells the scheduler with each instruction, from `nvdisasm -c -hex`.

From Volta on an instruction has 128 bits, the upper of them for the scheduler: from bit 105 four
bits of stall count, a yield flag, three bits each for the barrier that the instruction sets when it
has written its result and when it has read its operands, and six for barriers that it waits for
(Jia et al., arXiv 1804.06826, section 2.1).
"""

import re
from dataclasses import dataclass

#: The upper half stands on a line of its own.
_UPPER_HALF = re.compile(r"^\s*/\* 0x([0-9a-f]{16}) \*/\s*$", re.MULTILINE)
_FIRST_BIT = 105 - 64
BARRIERS = 6


@dataclass(frozen=True, slots=True)
class Control:
    """How an instruction is scheduled.

    Attributes:
        stall: clocks until the warp may issue its next instruction.
        written, read: the barrier that is free again once the result is written, the operands read.
        waits: barriers that must be free before it is issued.
    """

    stall: int
    written: int | None = None
    read: int | None = None
    waits: tuple[int, ...] = ()


def controls(listing: str) -> list[Control]:
    """The controls of the instructions of a listing, in its order."""
    return [control(int(half, 16)) for half in _UPPER_HALF.findall(listing)]


def control(upper_half: int) -> Control:
    """The control in bits 64 to 127 of an instruction.

    >>> control(0x000FE20000000F00)  # stalls for a clock, no barriers
    Control(stall=1, written=None, read=None, waits=())
    >>> control(0x000EA8000C1E1D00)
    Control(stall=4, written=2, read=None, waits=())
    """
    bits = upper_half >> _FIRST_BIT
    waits = bits >> 11
    return Control(
        stall=bits & 15,
        written=_barrier(bits >> 5),
        read=_barrier(bits >> 8),
        waits=tuple(b for b in range(BARRIERS) if waits >> b & 1),
    )


def _barrier(bits: int) -> int | None:
    number = bits & 7
    return number if number < BARRIERS else None
