"""The small kernels around FlashAttention-3's variable-length scheduler: its plan, its counter."""

from gpusim.schedules.launch import Launch
from gpusim.schedules.step import Part, Pipe, Step
from gpusim.schedules.work import flat_work
from gpusim.spec.gpu import Gpu
from gpusim.units import ceil_div

#: Registers of a thread; only the occupancy depends on them.
REGISTERS = 32
#: Sequences that a warp takes at once, and a CTA of the prepare kernel (31 warps of 32).
SEQUENCES_PER_WARP, SEQUENCES_PER_CTA = 31, 992
#: Calibrated on aiconfigurator SGLang 0.5.14 rows, H100 (16-bit calls of one token that plan
#: themselves, less those that are planned before, for 1 to 512 sequences): clocks of one comparison
#: in the merge sort's binary searches, two loads from shared memory that depend on the last one.
COMPARE_CLOCKS = 72
#: Shared memory that the comparisons of a warp's 32 threads occupy: keys lie 16 B apart.
COMPARE_BYTES = 16

_STEP = Step(tracks=((Part("count", {Pipe.FP32: 1.0}),),), load_bytes=0.0, prefetch=False, syncs=0)


def prepare_launch(batch: int, gpu: Gpu, *, sorts: bool) -> Launch:
    """`prepare_varlen_num_blocks`: counts blocks, sets splits, and sorts the sequences by length.

    A warp for each 31 sequences, rounded up to a power of two, a CTA for each 992. Without a
    sliding window its n threads sort by merging: round r of log2 n searches r times,

        clocks = sum over r of r·(COMPARE_CLOCKS + n·16 B / shared memory's bytes a clock)

    Source: `hopper/flash_prepare_scheduler.cu` (`cub::BlockMergeSort`).
    """
    warps = 1
    while warps < min(ceil_div(batch, SEQUENCES_PER_WARP), 32):
        warps *= 2
    threads = 32 * warps
    rounds = threads.bit_length() - 1
    comparison = COMPARE_CLOCKS + threads * COMPARE_BYTES / gpu.pipes.smem_bytes_per_clock
    searches = rounds * (rounds + 1) / 2 if sorts else 0.0
    return _small(
        "prepare",
        ceil_div(batch, SEQUENCES_PER_CTA),
        threads=threads,
        clocks=searches * comparison,
        plain=False,
    )


def counter_reset() -> Launch:
    """`zero_` of the tile counter, where no other kernel of the call resets it."""
    return _small("reset", 1, threads=128, clocks=0.0, plain=True)


def _small(name: str, ctas: int, *, threads: int, clocks: float, plain: bool) -> Launch:
    """A kernel of bytes too few for a name: a plain one waits for them, others start as CTAs do."""
    return Launch(
        name=name,
        threads=threads,
        registers=REGISTERS,
        smem_bytes=0,
        step=_STEP,
        work=flat_work(ctas, steps=int(plain), loop_bytes=0),
        reads=(),
        writes=(),
        plain=plain,
        item_clocks=clocks,
    )
