"""What adding each tile's PV to O outside the tensor cores costs (vLLM's fork, FP8)."""

from gpusim.schedules.step import Part, Pipe
from gpusim.schedules.tile import Tile
from gpusim.spec.gpu import Gpu

#: Registers for accumulators of a consumer thread, by consumer warpgroups: what `setmaxnreg` leaves
#: less 24 or 32 for all else (`AI/SM90_BLOCK_SIZE_TUNING.md` of flash-attention; one: its rule).
ACCUMULATOR_REGISTERS = {1: 231, 2: 216, 3: 128}
THREADS, REGISTER_BYTES = 128, 4


def spilled_bytes(tile: Tile, gpu: Gpu) -> float:
    """Bytes at the rate of shared memory that a track of 64 rows moves for registers it lacks.

    S, P and O twice are alive at once, per thread of 128

        alive = (64·block_n·(1 + 1/4) + 2·64·dv) / 128

    What of them exceeds the registers goes to local memory and back, 4 B a register: at the rate of
    shared memory, with which L1 shares its data path, or at that of the SM's port to L2 if all
    tracks' registers exceed what shared memory leaves of L1. Source: `gemm` in `hopper/utils.h`.
    """
    n, dv, groups = tile.block_n, tile.value_dim, tile.block_m // 64
    alive = (64 * n + 64 * n // 4 + 2 * 64 * dv) // THREADS
    spilled = max(0, alive - ACCUMULATOR_REGISTERS[groups]) * THREADS * REGISTER_BYTES
    left = gpu.sm.smem_bytes - tile.smem_bytes
    slower = gpu.pipes.smem_bytes_per_clock / gpu.l2.port_bytes_per_clock_per_sm
    return 2.0 * spilled * (slower if groups * spilled > left else 1.0)


def two_level_parts(tile: Tile, spilled: float) -> tuple[Part, ...]:
    """Parts that follow PV in a track: O is set aside before PV and added after it.

    Each wants an instruction an element. `spilled` are bytes, see `spilled_bytes`.
    """
    add = Part("add", {Pipe.FP32: 2.0 * 64 * tile.value_dim}, exposed=True)
    spill = Part("spill", {Pipe.SMEM: spilled}, exposed=True)
    return (add, spill) if spilled else (add,)
