"""Tiles of a matrix product as libraries ship them, and what a CTA of one needs."""

from dataclasses import dataclass
from functools import cache, lru_cache

from gpusim.schedules.step import Part, Pipe, Step
from gpusim.spec.gpu import Gpu

#: Rows of a matrix instruction: of a warp (mma.sync m16n8k16), of a warpgroup (wgmma m64nNk16).
WARP_ROWS, GROUP_ROWS = 16, 64
#: Greatest N of a wgmma instruction.
MAX_GROUP_COLUMNS = 256
#: Bytes of an element of C, and of a part of it or an accumulator.
OUTPUT_BYTES, PARTIAL_BYTES = 2, 4
#: Registers of a thread beside its accumulators: fragments, addresses, counters.
OTHER_REGISTERS = 90
#: Shared memory that a TMA pipeline keeps for its barriers.
BARRIER_BYTES = 1024
#: TMA pipelines stop being deepened beyond this; nvjet names end at 64x16.
MAX_STAGES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class GemmTile:
    """One CTA's tile of C, and how the CTA walks K.

    Attributes:
        block_m, block_n: rows (tokens) and columns (features) of C.
        block_k: elements of K a step, in 16 bit; twice as many in 8 bit.
        num_warps: that multiply; wgmma kernels have a producer warpgroup beside.
        stages: steps whose loads are in shared memory or on their way.
        cluster_m, cluster_n: CTAs of a cluster; those of a column share one copy of W, those of a
            row one of A (TMA multicast).
        matrix_path: 'mma_sync' or 'wgmma'.
    """

    block_m: int
    block_n: int
    block_k: int
    num_warps: int
    stages: int
    cluster_m: int = 1
    cluster_n: int = 1
    matrix_path: str = "mma_sync"

    @property
    def threads(self) -> int:
        """Threads of the CTA, the producers of a wgmma kernel included."""
        return 32 * (self.num_warps + (4 if self.matrix_path == "wgmma" else 0))

    @property
    def registers(self) -> int:
        """Accumulators of a multiplying thread and `OTHER_REGISTERS`; a wgmma CTA as a whole
        takes at most what the register file has (its producers give registers away)."""
        own = self.block_m * self.block_n // (32 * self.num_warps) + OTHER_REGISTERS
        if self.matrix_path == "wgmma":
            return min(own, 168)
        return min(255, own)

    def keys(self, element_bytes: int) -> int:
        """Elements of K in a step: the bytes of a step are the same for every data type."""
        return self.block_k * 2 // element_bytes

    @property
    def stage_bytes(self) -> int:
        """Shared memory of one stage: a slice of A and one of W."""
        return 2 * (self.block_m + self.block_n) * self.block_k

    @property
    def read_rows(self) -> float:
        """Rows and columns of a K slice that multiplying reads from shared memory.

        mma.sync: warps form a grid, each reads its rows of A and columns of W. wgmma: each 64 rows
        of one operand are read once and the whole other operand (up to 256) beside them.
        """
        if self.matrix_path == "wgmma":
            sides = ((self.block_m, self.block_n), (self.block_n, self.block_m))
            fits = [(a, b) for a, b in sides if a % GROUP_ROWS == 0 and b <= MAX_GROUP_COLUMNS]
            return min(a + b * (a // GROUP_ROWS) for a, b in fits)
        grids = [
            (w, self.num_warps // w)
            for w in (1, 2, 4, 8)
            if self.num_warps % w == 0 and w * WARP_ROWS <= self.block_m
        ]
        return min(self.block_m * cols + self.block_n * rows for rows, cols in grids)

    @property
    def choice(self) -> dict[str, int]:
        """The tile as a result shows it."""
        names = ("block_m", "block_n", "block_k", "num_warps", "stages", "cluster_m", "cluster_n")
        return {name: getattr(self, name) for name in names}


@lru_cache(maxsize=1024)
def gemm_step(tile: GemmTile, dtype: str, element_bytes: int) -> Step:
    """One K slice of a tile: 2·block_m·block_n·block_k FLOP.

    Slices are written to shared memory once, and `read_rows` is read of them. mma.sync kernels meet
    at a barrier for each; warpgroups wait for theirs while the products before are under way.
    """
    keys = tile.keys(element_bytes)
    rows = tile.read_rows + tile.block_m + tile.block_n
    amounts = {
        Pipe.TENSOR: 2.0 * tile.block_m * tile.block_n * keys,
        Pipe.SMEM: float(rows * keys * element_bytes),
    }
    return Step(
        tracks=((Part("mma", amounts),),),
        matrix_path=tile.matrix_path,
        matrix_dtype=dtype,
        load_bytes=float(tile.stage_bytes),
        stages=tile.stages,
        syncs=0 if tile.matrix_path == "wgmma" else 1,
    )


def epilogue(tile: GemmTile, *, output_bytes: int) -> dict[Pipe, float]:
    """What a CTA asks of pipes once, to bring its accumulators out.

    mma.sync: they are packed to 16 bit, two at a time, unless they leave in fp32, and pass through
    shared memory in fp32, so that whole lines are stored (CUTLASS `threadblock/epilogue.h`).
    wgmma: kernels are persistent and hand their tile to TMA, while the producers load the next.
    """
    if tile.matrix_path == "wgmma":
        return {}
    results = float(tile.block_m * tile.block_n)
    amounts = {Pipe.SMEM: 2 * PARTIAL_BYTES * results}
    if output_bytes < PARTIAL_BYTES:
        amounts[Pipe.CONVERT] = results / 2
    return amounts


#: block_m, block_n, block_k, warps, stages of cuBLAS' and CUTLASS' kernels for mma.sync, as their
#: names have it (ampere_bf16_s16816gemm_bf16_128x64_ldg8_f2f_stages_32x6, cutlass_80_...).
_MMA_SYNC = (
    (256, 128, 32, 8, 3),
    (128, 256, 32, 8, 3),
    (256, 128, 64, 8, 3),
    (128, 256, 64, 8, 3),
    (128, 128, 32, 4, 5),
    (128, 128, 64, 4, 3),
    (256, 64, 32, 4, 4),
    (64, 256, 32, 4, 4),
    (128, 64, 32, 4, 6),
    (64, 128, 32, 4, 6),
    (128, 64, 64, 4, 3),
    (64, 128, 64, 4, 3),
    (64, 64, 64, 4, 6),
    (64, 64, 32, 4, 6),
    (32, 128, 64, 4, 4),
    (32, 64, 64, 4, 5),
    (16, 128, 64, 4, 4),
    (16, 64, 64, 4, 5),
    (16, 32, 64, 2, 8),
)
#: wgmma kernels (nvjet_tst_256x152_64x4_1x2_h_bz_coopA_TNT, ..._168x128_64x5_..., _64x8_64x16_...):
#: rows of instructions, either of tokens or of features, and the most columns beside them; columns
#: come in steps of 8, as the names have 8, 16, 24, 144, 152, 168, 176, 200, 208 and 224.
_WGMMA_ROWS = {64: 256, 128: 256, 192: 208, 256: 160, 320: 128}
_COLUMN_STEP = 8
#: Tiles from this size on have two multiplying warpgroups and come in clusters.
_LARGE = 128 * 64
_CLUSTERS = ((1, 1), (2, 1), (1, 2))


#: Products in FP8 with scales are CUTLASS' in both frameworks: few tiles, K unsplit. Source:
#: sgl-kernel `fp8_gemm_kernel.cu`, vLLM `scaled_mm_c3x_sm90_fp8_dispatch.cuh` and
#: `scaled_mm_c2x_sm89_fp8_dispatch.cuh`.
_FP8_WGMMA = ((16, 64), (64, 64), (64, 128), (128, 128))
_FP8_MMA_SYNC = (
    (16, 64, 64, 4, 5),
    (32, 64, 64, 4, 5),
    (64, 64, 32, 4, 5),
    (64, 128, 32, 4, 5),
    (128, 64, 32, 4, 5),
    (128, 128, 32, 4, 5),
)


@cache
def _wgmma_tiles(smem_bytes: int, *, fp8: bool) -> tuple[GemmTile, ...]:
    shapes = (
        set(_FP8_WGMMA)
        if fp8
        else {
            shape
            for rows, most in _WGMMA_ROWS.items()
            for columns in range(_COLUMN_STEP, most + 1, _COLUMN_STEP)
            for shape in ((rows, columns), (columns, rows))
        }
    )
    return tuple(
        GemmTile(
            block_m=m,
            block_n=n,
            block_k=64,
            num_warps=8 if m * n >= _LARGE else 4,
            stages=min(MAX_STAGES, smem_bytes // (2 * (m + n) * 64)),
            cluster_m=cluster_m,
            cluster_n=cluster_n,
            matrix_path="wgmma",
        )
        for m, n in sorted(shapes)
        for cluster_m, cluster_n in (_CLUSTERS if m * n >= _LARGE else _CLUSTERS[:1])
    )


@cache
def _mma_tiles(smem_bytes: int, *, fp8: bool) -> tuple[GemmTile, ...]:
    tiles = (
        GemmTile(block_m=m, block_n=n, block_k=k, num_warps=warps, stages=stages)
        for m, n, k, warps, stages in (_FP8_MMA_SYNC if fp8 else _MMA_SYNC)
    )
    return tuple(t for t in tiles if t.stages * t.stage_bytes <= smem_bytes)


def shipped_tiles(gpu: Gpu, dtype: str) -> tuple[GemmTile, ...]:
    """Tiles that libraries have for a GPU and data type, on its fastest matrix instructions."""
    smem, fp8 = gpu.sm.max_smem_per_cta_bytes, dtype == "fp8"
    if gpu.tensor.wgmma_flop_per_clock:
        return _wgmma_tiles(smem - BARRIER_BYTES, fp8=fp8)
    return _mma_tiles(smem, fp8=fp8)
