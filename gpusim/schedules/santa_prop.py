"""S²ANTA-prop: scores first, then each tile draws rows by its share of the softmax.

The release (`santa_fused_proportional_tile_budgets` of SANTA, arXiv 2605.01910) takes one sequence;
a batch is a loop over it, so that each sequence brings all its launches. It is built for sm_86 and
sm_89 only; elsewhere this is what its source would do.
"""

from dataclasses import replace
from itertools import chain

from gpusim.schedules import santa
from gpusim.schedules.launch import Launch, Operand, once
from gpusim.schedules.sampling import distinct_rows
from gpusim.schedules.santa_pass1 import pass1
from gpusim.schedules.santa_pass2 import cast_scale, fill, pass2
from gpusim.schedules.step import Part, Pipe, Step
from gpusim.schedules.tiling import Tiling
from gpusim.schedules.work import flat_work
from gpusim.spec.attention import Attention
from gpusim.spec.gpu import Gpu
from gpusim.units import ceil_div, round_up

#: Samples a query head, unless given: the paper's operating point at 32k.
SAMPLES = 128
MAX_BATCH = 256  # sequences, of five launches each
MAX_GROUP = 8  # pass 2 runs 128 threads a head in one CTA
#: Tiles that the sort of `tile_budgets` holds in shared memory: 144 + 8·T bytes.
MAX_TILES = (santa.DEFAULT_SMEM - 144) // 8
#: Instructions of one compare-exchange and its barrier, counted in the source.
EXCHANGE_INSTRUCTIONS = 30


def santa_prop(attention: Attention, gpu: Gpu, tiling: Tiling) -> tuple[Launch, ...]:
    """Scores, budgets, fill, sampled rows and cast, for one sequence after another."""
    _check(attention)
    samples = tiling.samples or SAMPLES
    sigma = santa.LOGIT_SIGMA if tiling.logit_sigma is None else tiling.logit_sigma
    singles = chain.from_iterable(
        [_sequence(attention, gpu, s.kv_len, samples, sigma)] * s.count for s in attention.sequences
    )
    return tuple(_numbered(launch, i) for i, launches in enumerate(singles) for launch in launches)


def _check(attention: Attention) -> None:
    santa.check_decode(attention)
    dim, group, batch = attention.head_dim, attention.group_size, attention.batch
    santa.expect("attention.head_dim", "a multiple of 16", dim, ok=dim % 16 == 0)
    most = f"at most {MAX_GROUP} query heads each"
    santa.expect("attention.kv_heads", most, group, ok=group <= MAX_GROUP)
    santa.expect("sequences", f"at most {MAX_BATCH} in all", batch, ok=batch <= MAX_BATCH)
    longest = max(s.kv_len for s in attention.sequences)
    keys = MAX_TILES * 256
    santa.expect("sequences: kv_len", f"at most {keys}", longest, ok=longest <= keys)


def _sequence(
    attention: Attention, gpu: Gpu, kv_len: int, samples: int, sigma: float
) -> tuple[Launch, ...]:
    """The launches of one sequence.

    A tile draws S_t = S·W_t / Z rows, so S_t·p_r is S times the weight of row r in all the softmax:
    rows are read as if drawn from all keys at once (S_t is not rounded here), in tiles alike.
    """
    keys = santa.KeyTiles(kv_len, santa.tile_keys(kv_len))
    distinct = distinct_rows(kv_len, samples, sigma)
    return (
        pass1(attention, gpu, keys),
        _tile_budgets(attention, gpu, len(keys.start)),
        fill(attention),
        pass2(attention, gpu, keys, distinct=distinct, samples=samples),
        cast_scale(attention, gpu),
    )


def _numbered(launch: Launch, index: int) -> Launch:
    """The launch with the Q, K, V and O of sequence `index`; scratch memory is the same for all."""

    def named(operand: Operand) -> Operand:
        own = operand.name in ("q", "k", "v", "o")
        return replace(operand, name=f"{operand.name}[{index}]") if own else operand

    return replace(
        launch, reads=tuple(map(named, launch.reads)), writes=tuple(map(named, launch.writes))
    )


def _tile_budgets(attention: Attention, gpu: Gpu, tiles: int) -> Launch:
    """One CTA a head: softmax share of each tile, then a bitonic sort of what is left over.

    With N the power of two that holds T tiles, log2(N)·(log2(N) + 1)/2 stages of N compare-exchange
    slots: 28 stages for 128 tiles. Stages count by their instructions; their dependent latency does
    not show. Statistics are read three times, budgets, scale and offset written.
    """
    size = max(1, (tiles - 1).bit_length())
    stages = size * (size + 1) // 2
    warps = ceil_div(round_up(2**size, 128), 32)
    loads, heads = 12.0 * tiles, attention.q_heads
    return Launch(
        name="tile_budgets",
        threads=128,
        registers=santa.registers("tile_budgets", gpu),
        smem_bytes=144 + 8 * tiles,
        step=Step(
            tracks=(
                (
                    Part("share", {Pipe.EXP2: float(tiles), Pipe.FP32: 4.0 * tiles}),
                    Part("sort", {Pipe.ISSUE: float(stages * warps * EXCHANGE_INSTRUCTIONS)}),
                ),
            ),
            load_bytes=loads,
            loads=3 * ceil_div(tiles, 128),
            syncs=3,  # six barriers outside the sort
        ),
        work=flat_work(heads, steps=1, loop_bytes=loads, store_bytes=loads),
        reads=(
            Operand(
                name="stats",
                unique_bytes=float(heads * tiles * santa.STAT_BYTES),
                requested_bytes=heads * loads,
                rereads=(),
            ),
        ),
        writes=(once("budgets", heads * loads),),
    )
