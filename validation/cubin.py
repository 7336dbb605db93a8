"""What a compiled kernel takes and executes, read by the tools that Triton brings along."""

import re
import subprocess
import tempfile
from dataclasses import dataclass

import triton

from validation.control_words import Control, controls
from validation.sass import Instruction, parse


@dataclass(frozen=True, slots=True, kw_only=True)
class Cubin:
    """Registers and local memory of a thread, the code, and how each instruction is scheduled.

    All local memory is taken for spilled registers, as Triton's own `n_spills` does.
    """

    registers: int
    spill_bytes: int
    code: list[Instruction]
    controls: list[Control]


def read_cubin(image: bytes) -> Cubin:
    """Read a cubin of one kernel.

    Raises:
        RuntimeError: if it holds another number of functions, or instructions were not understood.
    """
    tools = triton.knobs.nvidia
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(image)
        file.flush()
        usage = _output(tools.cuobjdump.path, "--dump-resource-usage", file.name)
        listing = _output(tools.nvdisasm.path, "-c", "-hex", file.name)
    functions = re.findall(r"REG:(\d+) STACK:(\d+)", usage)
    if len(functions) != 1:
        raise RuntimeError(f"cubin: expected one function, found {len(functions)}: {usage}")
    registers, stack_bytes = map(int, functions[0])
    code, scheduled = parse(listing), controls(listing)
    if len(code) != len(scheduled):
        raise RuntimeError(f"cubin: found {len(code)} instructions, {len(scheduled)} controls")
    return Cubin(registers=registers, spill_bytes=stack_bytes, code=code, controls=scheduled)


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
