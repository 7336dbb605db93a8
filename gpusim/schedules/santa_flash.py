"""S²ANTA-flash: scores, sampling and value rows of a tile in one kernel, then a merge over tiles.

Every tile and head draws the same number of rows, so that no tile waits for another (SANTA,
arXiv 2605.01910; release `flash_style_fused_santa_fixed_tile_budgets`).
"""

import numpy as np

from gpusim.schedules import santa
from gpusim.schedules.launch import Launch, Operand, once
from gpusim.schedules.mask import o_bytes, q_bytes
from gpusim.schedules.sampling import distinct_rows, union_rows
from gpusim.schedules.step import Part, Pipe, Step
from gpusim.schedules.tiling import Tiling
from gpusim.schedules.work import flat_work
from gpusim.spec.attention import Attention
from gpusim.spec.gpu import Gpu
from gpusim.units import ceil_div

#: Samples a query head, unless given: the paper's operating point at 32k.
SAMPLES = 2048
#: The only shape that the kernel is built for.
HEAD_DIM, GROUP = 128, 4
FUSED_SMEM = {32: 1264, 64: 2416, 256: 9392}
#: Tiles whose weights fit in the merge kernel's shared memory: (T + 256)·4 bytes.
MAX_TILES = santa.DEFAULT_SMEM // 4 - 256
UNROLL = 16  # loads in flight in the merge kernel


def santa_flash(attention: Attention, gpu: Gpu, tiling: Tiling) -> tuple[Launch, ...]:
    """The fused tiles, then the merge."""
    keys = _keys(attention)
    tiles = len(keys.start)
    budget = tile_budget(tiling.samples or SAMPLES, tiles)
    sigma = santa.LOGIT_SIGMA if tiling.logit_sigma is None else tiling.logit_sigma
    return _fused(attention, gpu, keys, budget, sigma), merge_tiles(attention, gpu, tiles)


def tile_budget(samples: int, tiles: int) -> int:
    """Rows that each head draws in each tile: S // T, and at least one.

    >>> tile_budget(2048, 128), tile_budget(2048, 129), tile_budget(32, 128)
    (16, 15, 1)
    """
    return max(1, samples // tiles)


def _keys(attention: Attention) -> santa.KeyTiles:
    santa.check_decode(attention)
    dim, group = attention.head_dim, attention.group_size
    santa.expect("attention.head_dim", str(HEAD_DIM), dim, ok=dim == HEAD_DIM)
    four = f"{GROUP} query heads each"
    santa.expect("attention.kv_heads", four, group, ok=group == GROUP)
    kv_len = santa.one_length(attention)
    block_n = santa.tile_keys(kv_len)
    most = MAX_TILES * block_n
    santa.expect("sequences[0].kv_len", f"at most {most}", kv_len, ok=kv_len <= most)
    return santa.KeyTiles(kv_len, block_n)


def _fused(
    attention: Attention, gpu: Gpu, keys: santa.KeyTiles, budget: int, sigma: float
) -> Launch:
    """One CTA per (tile, KV head, sequence), in this order: the four heads of the group together.

    Its latency chain: a warp scores a row at a time with one 256-byte row in flight, and one warp a
    head gathers its value rows one after another. Heads of a CTA that draw the same row ask for it
    within moments of each other, so it comes from HBM once. A short last tile counts as a whole one
    in time, not in bytes. The scans' and the gather's own instructions are left out.
    """
    warps = 8 if keys.block_n == 256 else 4
    lengths = keys.stop - keys.start
    distinct = np.array([distinct_rows(int(n), budget, sigma) for n in lengths])
    union = np.array([union_rows(int(n), r, GROUP) for n, r in zip(lengths, distinct, strict=True)])
    row = HEAD_DIM * attention.element_bytes
    work = santa.tile_work(
        attention,
        keys,
        batch=attention.batch,
        loop=lengths * row + GROUP * distinct * row,
        store=GROUP * (HEAD_DIM * 4.0 + santa.STAT_BYTES),
    )
    k_bytes = work.total((lengths * row).astype(np.float64))
    v_bytes, v_asked = work.total(union * row), work.total(GROUP * distinct * row)
    stats = float(work.num_items * GROUP * santa.STAT_BYTES)
    parts = float(work.num_items * GROUP * HEAD_DIM * 4)
    gathered = float(distinct[0])
    return Launch(
        name="fused_tiles",
        threads=32 * warps,
        registers=santa.registers("fused_tiles", gpu),
        smem_bytes=FUSED_SMEM[keys.block_n],
        step=Step(
            tracks=(
                (
                    *santa.score_parts(keys.rows, GROUP, santa.row_instructions(gpu)),
                    santa.sampling_part(keys.rows, GROUP),
                    Part("gather", {Pipe.FP32: GROUP * gathered * HEAD_DIM}),
                ),
            ),
            matrix_dtype=attention.dtype,
            load_bytes=float(work.tiles.loop_bytes[0]),
            loads=ceil_div(keys.rows, warps) + max(1, round(gathered)),
            syncs=3,  # six barriers
        ),
        work=work,
        tile={"block_n": keys.block_n, "num_warps": warps, "samples_per_tile": budget},
        reads=(
            Operand(
                name="q",
                unique_bytes=q_bytes(attention),
                requested_bytes=work.total(work.tiles.load_bytes),
            ),
            once("k", k_bytes),
            Operand(name="v", unique_bytes=v_bytes, requested_bytes=v_asked, rereads=()),
        ),
        writes=(
            once("stats", stats),
            once("out_tiles", parts),
        ),
    )


def merge_tiles(attention: Attention, gpu: Gpu, tiles: int, *, scans: int = 2) -> Launch:
    """One CTA per (head, sequence): maximum and sum of the tiles' statistics, then their outputs.

    A step is 16 tiles' outputs, whose loads are in flight together; each of the `scans` over the
    statistics before (the maxima, then maxima and sums, 256 tiles at a time) counts as a step.
    """
    ctas, dim = attention.batch * attention.q_heads, attention.head_dim
    parts, stats = 4.0 * dim * tiles, 12.0 * tiles
    stored = float(dim * attention.output_bytes + 4)
    return Launch(
        name="finalize",
        threads=256,
        registers=santa.registers("finalize", gpu),
        smem_bytes=(tiles + 256) * 4,
        step=Step(
            tracks=((Part("accumulate", {Pipe.FP32: float(UNROLL * dim)}),),),
            load_bytes=4.0 * dim * UNROLL,
            syncs=0,
        ),
        work=flat_work(
            ctas,
            steps=ceil_div(tiles, UNROLL) + scans * ceil_div(tiles, 256),
            loop_bytes=parts + stats,
            store_bytes=stored,
        ),
        reads=(
            Operand(
                name="stats",
                unique_bytes=float(ctas * tiles * santa.STAT_BYTES),
                requested_bytes=ctas * stats,
                rereads=(),
            ),
            once("out_tiles", ctas * parts),
        ),
        writes=(
            Operand(
                name="o",
                unique_bytes=o_bytes(attention) + 4 * ctas,
                requested_bytes=ctas * stored,
            ),
        ),
    )
