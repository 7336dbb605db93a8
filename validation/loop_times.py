"""Clocks of a kernel's last loop, as `compiled_frameworks/` tells them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpusim.schedules.occupancy import occupancy
from gpusim.spec.gpu import Gpu
from validation.instruction_chain import Memory, Step, pass_clocks, steps
from validation.instruction_times import L1_CLOCKS, LANES, width_bytes
from validation.natural_loops import loops
from validation.sass import Instruction, kind_of

if TYPE_CHECKING:
    from validation.cubin import Cubin

#: Two latencies of L2, in clocks: the time of a pass is straight between and beyond them.
NEAR_CLOCKS, FAR_CLOCKS = 170.0, 570.0
KIB = 1024
#: Shared memory that an SM can set aside, and what L1 has when it is the most, in KiB (CUDA
#: Programming Guide, compute capabilities 8.0 to 9.0).
CARVE_OUTS_KIB, LEAST_L1_KIB = (0, 8, 16, 32, 64, 100, 132, 164, 196, 228), 28


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """How a kernel is launched.

    Attributes:
        warps: of a CTA.
        smem_bytes: of a CTA.
        tile_bytes: of the keys and values that a pass loads.
        through_port: whether the pass contains the transfer of its tile from L2.
    """

    warps: int
    smem_bytes: int
    tile_bytes: int
    through_port: bool


def last_loop(code: Sequence[Instruction]) -> list[int]:
    """Places of the loop that begins last, in order."""
    return sorted(max(loops([x.follows for x in code]), key=min))


def without_matrices(code: Sequence[Instruction], loop: Sequence[int]) -> list[int]:
    """The loop without its longest part around all matrix instructions that a branch jumps over.

    Empty if no branch does.
    """
    tensor = [place for place in loop if kind_of(code[place].opcode) == "tensor"]
    if not tensor:
        return []
    inside = set(loop)
    jumps = [
        (target - place, place, target)
        for place in loop
        for target in code[place].follows
        if target in inside and place < tensor[0] and tensor[-1] < target
    ]
    if not jumps:
        return []
    _, first, last = max(jumps)
    return [place for place in loop if not first < place < last]


def loop_times(cubin: "Cubin", gpu: Gpu, launched: Launched) -> Mapping[str, float]:
    """Columns `instructions` to `skip_clocks` of a build (`gpusim/spec/framework_builds.py`)."""
    loop, warps = last_loop(cubin.code), launched.warps
    port = gpu.l2.port_bytes_per_clock_per_sm if launched.through_port else None
    walked = _steps(cubin, loop, gpu)
    local = _local_bytes(walked, warps)
    spills = local > 0 and _overflows_l1(cubin, gpu, launched)
    near, far = (
        pass_clocks(
            walked,
            gpu,
            Memory(l2_clocks=l2, local_clocks=l2 if spills else L1_CLOCKS, port_bytes=port),
            warps=warps,
        )
        for l2 in (NEAR_CLOCKS, FAR_CLOCKS)
    )
    loads = (far - near) / (FAR_CLOCKS - NEAR_CLOCKS)
    hit = Memory(l2_clocks=L1_CLOCKS, port_bytes=port)
    ctas = max(2, _ctas(cubin, gpu, launched))
    skip = without_matrices(cubin.code, loop)
    return {
        "instructions": len(loop),
        "chain_clocks": round(near - NEAR_CLOCKS * loads),
        "loads": max(0.0, round(loads, 2)),
        "local_bytes": local if spills else 0,
        "busy_clocks": round(pass_clocks(walked, gpu, hit, warps=warps, ctas=ctas) / ctas),
        "skip_clocks": round(pass_clocks(_steps(cubin, skip, gpu), gpu, hit, warps=warps))
        if skip
        else 0,
    }


def _steps(cubin: "Cubin", places: Sequence[int], gpu: Gpu) -> list[Step]:
    opcodes = [cubin.code[place].opcode for place in places]
    return steps(opcodes, [cubin.controls[place] for place in places], gpu)


def _ctas(cubin: "Cubin", gpu: Gpu, launched: Launched) -> int:
    """CTAs that fit on an SM."""
    fit = occupancy(
        gpu,
        threads=LANES * launched.warps,
        registers=cubin.registers,
        smem_bytes=launched.smem_bytes,
    )
    return fit.ctas_per_sm


def _local_bytes(walked: Sequence[Step], warps: int) -> int:
    """Bytes of spilled registers that a CTA writes and reads in a pass."""
    spilled = [step.opcode for step in walked if step.verb in {"LDL", "STL"}]
    return sum(LANES * warps * width_bytes(opcode) for opcode in spilled)


def _overflows_l1(cubin: "Cubin", gpu: Gpu, launched: Launched) -> bool:
    """Whether spilled registers and a tile of all CTAs do not fit into L1 together.

    L1 is what the smallest carve-out leaves that holds the CTAs' shared memory.
    """
    ctas = _ctas(cubin, gpu, launched)
    reserved = gpu.sm.reserved_smem_per_cta_bytes
    most = gpu.sm.smem_bytes // KIB
    needed = min(most, ctas * (launched.smem_bytes + reserved) / KIB)
    carved = next(size for size in CARVE_OUTS_KIB if size >= needed)
    room = (most + LEAST_L1_KIB - carved) * KIB
    spilled = cubin.spill_bytes * LANES * launched.warps
    return ctas * (spilled + launched.tile_bytes) > room
