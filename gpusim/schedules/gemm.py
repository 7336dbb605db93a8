"""A dense matrix product C[m,n] = A[m,k]·W[k,n] as launches: tiles of C, split along K or not.

A CTA owns a tile of C and walks K slice by slice (CUTLASS; cuBLAS' kernels carry tile, slice and
stages in their names). Products with few tiles are split along K into fp32 partial results, which a
second kernel adds (cuBLAS' `splitKreduce_kernel`). Groups, as of a mixture of experts, are equal
products whose tiles share one grid.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import sqrt

from gpusim.errors import SpecError
from gpusim.schedules.gemm_tile import (
    OUTPUT_BYTES,
    PARTIAL_BYTES,
    GemmTile,
    epilogue,
    gemm_step,
)
from gpusim.schedules.launch import Launch, Operand, once
from gpusim.schedules.loops import Loop, loop_rereads
from gpusim.schedules.step import Part, Pipe, Step
from gpusim.schedules.work import flat_work
from gpusim.spec.attention import BYTES
from gpusim.spec.gpu import Gpu
from gpusim.units import ceil_div

#: A kernel walks C in bands of so many bytes' worth of tiles at most (CUTLASS' swizzle of 8).
MAX_BAND = 8
#: Elements that a CTA of the reduction adds, and its threads.
REDUCED, REDUCE_THREADS = 1024, 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Gemm:
    """A product, or `groups` equal ones side by side: A is m x k, W k x n."""

    m: int
    n: int
    k: int
    dtype: str = "bf16"
    groups: int = 1

    def __post_init__(self) -> None:
        for name in ("m", "n", "k", "groups"):
            value = getattr(self, name)
            if value < 1:
                raise SpecError(f"gemm.{name}: expected 1 or more, found {value}")

    @property
    def element_bytes(self) -> int:
        """Of A and W."""
        return BYTES[self.dtype]

    @property
    def useful_flop(self) -> float:
        """2·m·n·k a group."""
        return 2.0 * self.m * self.n * self.k * self.groups

    @property
    def a_bytes(self) -> float:
        """Bytes of all A."""
        return float(self.m) * self.k * self.element_bytes * self.groups

    @property
    def w_bytes(self) -> float:
        """Bytes of all W."""
        return float(self.n) * self.k * self.element_bytes * self.groups

    @property
    def c_bytes(self) -> float:
        """Bytes of all C, which is in 16 bit."""
        return float(self.m) * self.n * OUTPUT_BYTES * self.groups


@dataclass(frozen=True, slots=True, kw_only=True)
class GemmPlan:
    """How a kernel covers a product: its tile, and in how many parts K is split."""

    tile: GemmTile
    splits: int = 1

    def grid(self, gemm: Gemm) -> tuple[int, int]:
        """Tiles along m and along n."""
        return ceil_div(gemm.m, self.tile.block_m), ceil_div(gemm.n, self.tile.block_n)

    def items(self, gemm: Gemm) -> int:
        """CTAs with work."""
        rows, columns = self.grid(gemm)
        return rows * columns * self.splits * gemm.groups

    def stored_bytes(self, gemm: Gemm) -> float:
        """Bytes of C, or of its parts in fp32."""
        if self.splits == 1:
            return gemm.c_bytes
        return gemm.c_bytes / OUTPUT_BYTES * PARTIAL_BYTES * self.splits

    def steps(self, gemm: Gemm) -> int:
        """K slices of a CTA."""
        return ceil_div(ceil_div(gemm.k, self.tile.keys(gemm.element_bytes)), self.splits)


def gemm_launches(gemm: Gemm, plan: GemmPlan, gpu: Gpu, slots: int) -> tuple[Launch, ...]:
    """The launches of a product by a plan on so many slots.

    All items count alike: a tile over the edge of C multiplies as a whole one (padding is work),
    but loads and stores real bytes only, which are shared out evenly over the items.
    """
    tile, items = plan.tile, plan.items(gemm)
    rows, columns = plan.grid(gemm)
    asked_a = gemm.a_bytes * columns / tile.cluster_n
    asked_w = gemm.w_bytes * rows / tile.cluster_m
    split = plan.splits > 1
    stored = plan.stored_bytes(gemm)
    name = f"gemm_{tile.block_m}x{tile.block_n}"
    reread_a, reread_w = _rereads(gemm, plan, slots)
    main = Launch(
        name=f"{name}_split_k" if split else name,
        threads=tile.threads,
        registers=tile.registers,
        smem_bytes=tile.stages * tile.stage_bytes,
        step=gemm_step(tile, gemm.dtype, gemm.element_bytes),
        work=flat_work(
            items,
            steps=plan.steps(gemm),
            q_rows=min(tile.block_m, gemm.m),
            kv_rows=min(tile.block_n, gemm.n),
            loop_bytes=(asked_a + asked_w) / items,
            store_bytes=stored / items,
        ),
        item_amounts=epilogue(tile, output_bytes=PARTIAL_BYTES if split else OUTPUT_BYTES),
        tile=tile.choice | {"splits": plan.splits},
        reads=(
            Operand(name="a", unique_bytes=gemm.a_bytes, requested_bytes=asked_a, rereads=reread_a),
            Operand(name="w", unique_bytes=gemm.w_bytes, requested_bytes=asked_w, rereads=reread_w),
        ),
        writes=(once("partial" if split else "c", stored),),
    )
    return (main, _reduce(gemm, plan.splits, gpu)) if split else (main,)


def band_of(gemm: Gemm, plan: GemmPlan, slots: int) -> int:
    """Tiles along m that a kernel works on together, before it goes on along n.

    Of 1 to `MAX_BAND`, what makes the tiles of a wave nearest to a square, so that it reads least.
    """
    tile = plan.tile
    rows, _ = plan.grid(gemm)
    square = sqrt(slots * tile.block_n / tile.block_m)
    band = 1
    while 2 * band <= min(rows, MAX_BAND) and 2 * band <= square * sqrt(2):
        band *= 2
    return band


def _rereads(
    gemm: Gemm, plan: GemmPlan, slots: int
) -> tuple[tuple[tuple[float, float], ...], tuple[tuple[float, float], ...]]:
    """Re-reads of A by the columns of a band, and of W by the bands.

    CTAs of a wave walk K together, so that what they share is read once.
    """
    rows, columns = plan.grid(gemm)
    band = band_of(gemm, plan, slots)
    bands = rows / band
    a, w, c = gemm.a_bytes / gemm.groups, gemm.w_bytes / gemm.groups, gemm.c_bytes / gemm.groups
    ctas = band * plan.splits
    along_n = Loop(columns, ctas, a / bands, w + c / bands)
    along_m = Loop(bands, ctas * columns, w, a + c)
    return (
        loop_rereads(gemm.a_bytes, (along_n,), slots),
        loop_rereads(gemm.w_bytes, (along_m,), slots),
    )


def _reduce(gemm: Gemm, splits: int, gpu: Gpu) -> Launch:
    """`splitKreduce_kernel`: adds the parts of each element of C, one part a step.

    It takes as long as an empty kernel beside its loads.
    """
    elements = gemm.m * gemm.n * gemm.groups
    items = ceil_div(elements, REDUCED)
    partial = float(elements) * splits * PARTIAL_BYTES
    size = min(elements, REDUCED)
    return Launch(
        name="split_k_reduce",
        threads=REDUCE_THREADS,
        registers=32,
        smem_bytes=0,
        step=_reduce_step(size, splits),
        work=flat_work(
            items, steps=splits, loop_bytes=partial / items, store_bytes=gemm.c_bytes / items
        ),
        reads=(once("partial", partial),),
        writes=(once("c", gemm.c_bytes),),
        plain=True,
        lead_us=gpu.launch.shortest_kernel_us,
    )


@lru_cache(maxsize=1024)
def _reduce_step(size: int, splits: int) -> Step:
    return Step(
        tracks=((Part("add", {Pipe.FP32: float(size)}),),),
        load_bytes=float(size * PARTIAL_BYTES),
        stages=splits,
        syncs=0,
    )
