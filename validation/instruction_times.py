"""How long an instruction holds a unit of its SM, and when its result is there, in SM clocks.

Instructions with a fixed latency have none here: the compiler's stall counts hold it. Keys of
sources are those of `hardware/README.md`, and [EB23] arXiv 2305.07390, [ASIM] Accel-Sim's tested
configurations SM86 and SM90. Matrix rates are the nominal ones of the GPU's profile, the others of
[PG], the same for sm_89 and sm_90.
"""

import re
from dataclasses import dataclass

from gpusim.spec.gpu import Gpu
from validation.sass import warp_flop

LANES = 32
#: Schedulers of an SM, and warps of a warpgroup, one on each of them.
SCHEDULERS = 4

#: Share of the nominal rate that a warp's matrix instructions reach: H800 PCIe 62.9 % on average
#: [L24]; calibrated on aiconfigurator vLLM 0.24.0 rows, L40S. These are not the profiles'
#: own numbers, lest the table change when those are calibrated anew.
MATRIX_SHARES = {"sm_89": 0.86, "sm_90": 0.63}
#: Shared memory, from issue to result: H100 PCIe 29, L40 30 [GB].
SMEM_CLOCKS = 30.0
#: A hit in L1: L40 36 [GB], H100 SXM 40.2 [H100study].
L1_CLOCKS = 38.0
#: Special functions: 21 to 23 [ASIM].
SPECIAL_CLOCKS = 22.0
#: Conversions, special registers, constants: an estimate, near special functions.
OTHER_CLOCKS = 20.0
#: From issue to the load and store unit, part of the latencies above: estimate.
TO_MEMORY_CLOCKS = 4.0
#: A shuffle after that and its two passes, 28 in all: A100 25 [EB23].
SHUFFLE_CLOCKS = 22.0
#: From the last warp's issue of a barrier until all go on: an estimate. On A100 a barrier of one
#: warp takes 23 clocks from instruction to instruction, of four 29, of eight 37 [EB23].
BARRIER_CLOCKS = 16.0
#: From the end of a warpgroup's matrix instruction until its accumulators may be read: estimate.
ACCUMULATOR_CLOCKS = 30.0
#: After issue, or after the load and store unit took it, operands may be overwritten: estimates.
OPERAND_CLOCKS, STORED_OPERAND_CLOCKS = 10.0, 6.0
#: Passes through shared memory of a byte store, with which Triton 3.6 transposes an FP8 tile: lanes
#: meet in a bank. Calibrated on aiconfigurator SGLang 0.5.14 rows, H100: of the powers of two up to
#: 32 the one that meets prompts in FP8 with d = 256 best.
BYTE_STORE_PASSES = 16

_MEMORY = {"LDS", "LDSM", "STS", "STSM", "LDL", "STL", "LDG", "LDGSTS", "STG"}
#: Passes of the unit: REDUX 16 lanes a clock [PG]; a shuffle would have one at its 32, two are an
#: estimate, since it reads and writes.
_EXCHANGES = {"SHFL": 2, "REDUX": 2}
#: Results a clock and SM: 16, 128 (FP32), 64 (integer multiply-add) [PG]; all else 64, but those
#: that use no lane's arithmetic issue every clock.
_SPECIAL = {"MUFU", "F2F", "I2F", "F2I"}
_FP32 = {"FADD", "FMUL", "FFMA"}
_INTEGER_MULTIPLY = {"IMAD", "IDP"}
_NO_ARITHMETIC = {"BRA", "BAR", "NOP", "MOV", "CS2R", "UMOV", "ULOP3", "UIADD3", "ULDC", "ULEA"} | {
    "R2UR",
    "WARPGROUP",
    "LDGDEPBAR",
    "DEPBAR",
    "MEMBAR",
    "FENCE",
}
_WARPGROUP_SHAPE = re.compile(r"([HQ])GMMA\.64x(\d+)x(\d+)")
_TYPES = {"H": "bf16", "Q": "fp8", "I": "int8"}


@dataclass(frozen=True, slots=True)
class Use:
    """What an instruction of a warp holds.

    Attributes:
        pipe: of the warp's scheduler.
        clocks: until that pipe takes the next instruction.
        passes: of the load and store unit, which the SM has one of, a clock each.
    """

    pipe: str
    clocks: float
    passes: int = 0


def use(opcode: str, gpu: Gpu) -> Use:
    """What an instruction holds on a GPU.

    >>> from gpusim.spec.load import load_gpu
    >>> use("LDS.128", load_gpu("h100_sxm")), use("IADD3", load_gpu("h100_sxm"))
    (Use(pipe='memory', clocks=1, passes=4), Use(pipe='integer', clocks=2, passes=0))
    """
    verb = opcode.split(".")[0]
    if verb in {"HMMA", "QMMA", "IMMA"}:
        return Use("tensor", _matrix_clocks(opcode, gpu))
    if verb in _MEMORY:
        return Use("memory", 1, _passes(opcode))
    if verb in _EXCHANGES:
        return Use("memory", 1, _EXCHANGES[verb])
    if verb in _SPECIAL:
        return Use("special", 8)
    if verb in _FP32 | _INTEGER_MULTIPLY:
        return Use("fp32", 1 if verb in _FP32 else 2)
    return Use("none", 1) if verb in _NO_ARITHMETIC else Use("integer", 2)


def width_bytes(opcode: str) -> int:
    """Bytes that a lane reads or writes.

    >>> [width_bytes(opcode) for opcode in ("LDG.E.128", "STS.U8", "LDL.LU.64", "STS")]
    [16, 1, 8, 4]
    """
    words = opcode.split(".")
    widths = {"128": 16, "64": 8, "U16": 2, "S16": 2, "U8": 1, "S8": 1}
    return next((size for name, size in widths.items() if name in words), 4)


def warpgroup_clocks(opcode: str, gpu: Gpu) -> float:
    """Clocks that a warpgroup's matrix instruction holds the SM's tensor cores, 0 for others.

    They multiply at the profile's rate, or read both operands from shared memory if that is slower.
    """
    shape = _WARPGROUP_SHAPE.match(opcode)
    if shape is None:
        return 0.0
    dtype, n, k = _TYPES[shape[1]], int(shape[2]), int(shape[3])
    operand_bytes = (64 + n) * k * (1 if dtype == "fp8" else 2)
    multiplying = 2 * 64 * n * k / gpu.tensor.wgmma_flop_per_clock[dtype]
    return max(multiplying, operand_bytes / gpu.pipes.smem_bytes_per_clock)


def _matrix_clocks(opcode: str, gpu: Gpu) -> float:
    """Clocks of one warp's matrix instruction on its scheduler's tensor core."""
    rate = gpu.tensor.mma_sync_flop_per_clock[_TYPES[opcode[0]]] / SCHEDULERS
    return warp_flop(opcode) / (rate * MATRIX_SHARES[gpu.architecture])


def _passes(opcode: str) -> int:
    """Of 128 bytes each; a matrix load has as many as it has 8 x 8 matrices."""
    if opcode.startswith(("LDSM", "STSM")):
        return int(opcode[-1]) if opcode[-2:] in {".2", ".4"} else 1
    if opcode == "STS.U8":
        return BYTE_STORE_PASSES
    return max(1, width_bytes(opcode) // 4)
