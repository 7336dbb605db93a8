"""What the loops of a kernel execute, from its disassembly (`nvdisasm -c`). Text only, no GPU.

Loops are found in the control flow, not between a label and a jump back to it: on Hopper retries of
barrier waits stand behind the kernel's end, and warp specialisation dispatches in a loop.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from validation.natural_loops import loops, reached

_LABEL = re.compile(r"^(\.L_\w+):")
_INSTRUCTION = re.compile(r"^\s*/\*[0-9a-f]+\*/\s+(?:@(\S+)\s+)?([A-Z][\w.]*)\s*([^;]*);")
_TARGET = re.compile(r"\.L_\w+")
#: M, N and K of a matrix instruction: one warp's, or the one of a warpgroup's four warps.
_WARP_MMA = re.compile(r"[HIQ]MMA(?:\.SP)?\.(16)(8)(\d+)\b")
_WARPGROUP_MMA = re.compile(r"[HIQ]GMMA(?:\.SP)?\.(64)x(\d+)x(\d+)\b")

_JUMPS = {"BRA", "BRX", "BRXU", "JMP", "JMX", "JMXU"}
_ENDS = {"EXIT", "RET", "KILL"}
#: Kinds by the first word of an opcode. FMNMX, FSEL and FSETP run on the integer pipe, but are the
#: softmax and its mask.
_KINDS = {
    "mufu": {"MUFU"},
    "fp32": {"FFMA", "FADD", "FMUL", "FMNMX", "FMNMX3", "FSEL", "FSETP"},
    "convert": {"F2FP", "F2F", "F2I", "I2F", "I2FP"},
    "async_copies": {"LDGSTS", "UTMALDG", "UBLKCP"},
    "smem_reads": {"LDS", "LDSM"},
    "smem_writes": {"STS", "STSM"},
    "global_reads": {"LDG"},
    "barriers": {"BAR"},
    "global_writes": {"STG", "UTMASTG"},
}
_KIND_OF = {verb: kind for kind, verbs in _KINDS.items() for verb in verbs}


@dataclass(frozen=True, slots=True)
class Instruction:
    """An opcode, and the places in the listing where control may be next."""

    opcode: str
    follows: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """Instructions of one warp by kind; `tensor_flop` are those of one warp, `mufu` without EX2."""

    instructions: int = 0
    tensor: int = 0
    tensor_flop: int = 0
    exp2: int = 0
    mufu: int = 0
    fp32: int = 0
    convert: int = 0
    async_copies: int = 0
    smem_reads: int = 0
    smem_writes: int = 0
    global_reads: int = 0
    global_writes: int = 0
    barriers: int = 0


def mix(opcodes: Iterable[str]) -> Mix:
    """Count opcodes.

    >>> mix(["HMMA.16816.F32", "MUFU.EX2", "MUFU.RCP", "BRA"])  # doctest: +ELLIPSIS
    Mix(instructions=4, tensor=1, tensor_flop=4096, exp2=1, mufu=1, fp32=0, ...)
    """
    counted = list(opcodes)
    kinds = Counter(kind for opcode in counted if (kind := kind_of(opcode)))
    return Mix(instructions=len(counted), tensor_flop=sum(map(warp_flop, counted)), **kinds)


def parse(listing: str) -> list[Instruction]:
    """The instructions of a listing, in its order; one that never executes (@!PT) is a NOP."""
    labels: dict[str, int] = {}
    lines: list[tuple[str, str, str]] = []
    for line in listing.splitlines():
        if label := _LABEL.match(line):
            labels[label[1]] = len(lines)
        elif found := _INSTRUCTION.match(line):
            guard, opcode, operands = found.groups(default="")
            lines.append(("", "NOP", "") if guard in {"!PT", "!UPT"} else (guard, opcode, operands))
    places = range(len(lines))
    return [
        Instruction(line[1], tuple(p for p in _follows(place, *line, labels) if p in places))
        for place, line in enumerate(lines)
    ]


def whole(code: Sequence[Instruction]) -> Mix:
    """All that control can come to: without the padding behind the end."""
    return mix(code[i].opcode for i in reached([x.follows for x in code]))


def innermost(code: Sequence[Instruction], kind: str) -> list[Mix]:
    """The loops with instructions of a kind (a field of `Mix`) and no loop inside that has them.

    In the order of the code, each with all of its branches and the loops inside.
    """
    kinds = [kind_of(x.opcode) for x in code]
    found = [
        loop for loop in loops([x.follows for x in code]) if any(kinds[i] == kind for i in loop)
    ]
    least = [loop for loop in found if not any(other < loop for other in found)]
    return [mix(code[i].opcode for i in loop) for loop in sorted(least, key=min)]


def kind_of(opcode: str) -> str | None:
    """The field of `Mix` that counts an opcode, if one does."""
    if warp_flop(opcode):
        return "tensor"
    if opcode.startswith("MUFU.EX2"):
        return "exp2"
    if opcode.startswith("HADD2.F32"):  # how FP16 becomes FP32
        return "convert"
    return _KIND_OF.get(opcode.split(".")[0])


def warp_flop(opcode: str) -> int:
    """FLOP of a matrix instruction in one warp, 2·M·N·K; four warps share a warpgroup's.

    >>> warp_flop("HMMA.16816.F32"), warp_flop("HGMMA.64x128x16.F32"), warp_flop("FFMA")
    (4096, 65536, 0)
    """
    shape = _WARP_MMA.match(opcode) or _WARPGROUP_MMA.match(opcode)
    if shape is None:
        return 0
    m, n, k = map(int, shape.groups())
    return 2 * 16 * n * k if m == 64 else 2 * m * n * k


def _follows(
    place: int, guard: str, opcode: str, operands: str, labels: Mapping[str, int]
) -> Iterator[int]:
    """Where control goes after an instruction.

    A call of a label is a jump that reaches farther than BRA; a call of a function comes back.
    Labels of other instructions (BSSY) are no targets.
    """
    verb = opcode.split(".")[0]
    targets = [labels[name] for name in _TARGET.findall(operands)]
    jumps = verb in _JUMPS or (verb == "CALL" and bool(targets))
    # A second condition stands before the label: BRA P1, `(.L_x_0).
    asks = bool(guard) or (verb in {"BRA", "JMP"} and not operands.startswith("`"))
    if jumps:
        yield from targets
    if asks or not (jumps or verb in _ENDS):
        yield place + 1
