"""FlashInfer's FlashAttention-2 kernel, for prompts and for decode with tensor cores.

Sources: flashinfer-ai/flashinfer 0.6.12, `include/flashinfer/attention/prefill.cuh`,
`scheduler.cuh` and `cascade.cuh`. A CTA of four warps does 16, 64 or 128 query rows, packed heads
included. With 64 and 128 rows each warp has rows of its own; with 16 the warps share out the keys
of a tile, and merge their results in shared memory at the end.
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np

from gpusim.schedules.columns import Ints
from gpusim.schedules.flashinfer_merge import merge_launch
from gpusim.schedules.flashinfer_plan import Plan, prefill_plan
from gpusim.schedules.forward import flash2_step
from gpusim.schedules.grid import LSE_BYTES, ragged
from gpusim.schedules.launch import Launch, Operand, once
from gpusim.schedules.mask import Lengths, first_key, kv_bytes, last_key, q_bytes
from gpusim.schedules.occupancy import slots_of
from gpusim.schedules.step import Part, Pipe, Step
from gpusim.schedules.tile import Tile
from gpusim.schedules.work import Tiles, Work
from gpusim.spec.attention import BYTES, Attention
from gpusim.spec.gpu import Gpu
from gpusim.units import ceil_div, round_up

WARPS = 4
#: Depth and width of a matrix instruction, and the most such of a warp along the keys of a tile.
MMA, MOST_MMA_KV = 16, 8
#: Bytes of an element of a partial result: they are stored as the output is.
PARTIAL_BYTES = 2
#: What a warp does to an element of an FP8 cache that it reads. Per four: 10.5 integer operations
#: (8 of `fast_dequant_f8f16x4`, a permute after each shuffle) at half the rate of FP32 ones, two
#: multiplications, and 2 shuffles for K, 3 for V.
UNPACK_FP32, UNPACK_SHUFFLES = (2 * 10.5 + 2) / 4, 2.5 / 4
#: Matrix FLOP to sum a score into its row (`rowsum_f16f16f32`, 8 columns wide), which leaves two
#: FP32 operations of FlashAttention-2's three.
ROW_SUM_FLOP, SCORE_FP32 = 16, 2
#: Stores and loads of 16 bytes at a stride of 32 meet in half of the banks.
BANK_CONFLICTS = 2


def flashinfer_attention(
    attention: Attention, gpu: Gpu, *, name: str, captured: bool = False, indexed: bool = False
) -> tuple[Launch, ...]:
    """The launches of `BatchPrefillWithPagedKVCacheWrapper`, ragged or paged, or decode on it.

    Args:
        attention: the problem.
        gpu: for its SMs and their shared memory.
        name: of the kernel.
        captured, indexed: see `prefill_plan`.
    """
    plan = prefill_plan(attention, gpu, captured=captured, indexed=indexed)
    tile = flashinfer_tile(attention, gpu, plan.rows)
    work = planned_work(attention, plan, block_n=tile.block_n)
    reads, writes = planned_operands(attention, work, plan)
    launch = Launch(
        name=name,
        **tile.resources,
        step=_step(flash2_step(attention, tile), tile),
        work=_padded(work, slots_of(gpu, **tile.resources), plan),
        reads=reads,
        writes=writes,
        tile=tile.choice | {"num_splits": max(plan.parts)},
        item_amounts=_warp_merge(tile),
    )
    return (launch,) if plan.chunk is None else (launch, merge_launch(attention, gpu, plan))


def flashinfer_tile(attention: Attention, gpu: Gpu, rows: int) -> Tile:
    """Keys of a tile: as many as let two CTAs share an SM, if two of the smallest can.

        keys = 16·NUM_MMA_KV·warps along the keys
        NUM_MMA_KV = largest power of two in min(room for K and V, 8 / NUM_MMA_Q)

    L40S, 100 KiB an SM, d=128: 32 keys under 128 query rows in BF16, 64 with an FP8 cache.
    """
    d, dv = (round_up(n, MMA) for n in (attention.head_dim, attention.value_dim))
    warps_q = WARPS if rows > MMA else 1
    warps_kv, mma_q = WARPS // warps_q, ceil_div(rows, MMA * WARPS)
    width = BYTES[attention.cache_dtype]
    fixed = rows * d * attention.element_bytes
    each = (max(d, dv) if dv > 256 else d + dv) * MMA * warps_kv * width
    least = warps_q // 2 if width == 1 and warps_q > 2 else 1
    sm = gpu.sm
    ctas = 2 if sm.smem_bytes >= 2 * (fixed + least * each) else 1
    room = min(sm.smem_bytes // ctas, sm.max_smem_per_cta_bytes) - fixed
    most = max(1, min(room // each, MOST_MMA_KV // mma_q))
    mma_kv = 1 << (most.bit_length() - 1)
    merged = (4 * dv + 8) * rows * warps_kv if warps_kv > 1 and dv <= 256 else 0
    accumulators = mma_q * (dv // 2 + MMA * mma_kv // 2 * 3 // 2)
    return Tile(
        block_m=rows,
        block_n=MMA * mma_kv * warps_kv,
        num_warps=WARPS,
        head_dim=d,
        v_head_dim=dv,
        registers=min(sm.max_registers_per_thread, accumulators + 80),
        smem=max(fixed + mma_kv * each, merged),
        element_bytes=attention.element_bytes,
    )


@lru_cache(maxsize=1024)
def _step(step: Step, tile: Tile) -> Step:
    """The step of FlashAttention-2, with row sums on tensor cores.

    Every warp unpacks what it reads of an FP8 cache by itself.
    """
    scores = float(tile.block_m * tile.block_n)
    readers = 1 if tile.block_m == MMA else WARPS
    elements = float(readers * tile.block_n * (tile.head_dim + tile.value_dim))
    unpack = {Pipe.FP32: UNPACK_FP32 * elements, Pipe.SHUFFLE: UNPACK_SHUFFLES * elements}
    *_, pv = step.tracks[0]
    summed = pv.amounts[Pipe.TENSOR] + ROW_SUM_FLOP * scores
    own = {
        "unpack": Part("unpack", unpack, exposed=True),
        "scale": Part("scale", {Pipe.FP32: SCORE_FP32 * scores + tile.block_m * tile.value_dim}),
        "pv": replace(pv, amounts={**pv.amounts, Pipe.TENSOR: summed}),
    }
    return replace(step, tracks=(tuple(own.get(part.name, part) for part in step.tracks[0]),))


def _warp_merge(tile: Tile) -> dict[Pipe, float]:
    """With 16 rows: every warp writes its fp32 output to shared memory, and reads all of them."""
    if tile.block_m > MMA:
        return {}
    each = 4.0 * WARPS * tile.block_m * tile.value_dim
    return {Pipe.SMEM: BANK_CONFLICTS * each * (1 + WARPS)}


def planned_work(attention: Attention, plan: Plan, *, block_n: int) -> Work:
    """A row per part of the KV range of a query tile, parts fastest; heads outermost."""
    group, entries = attention.group_size, attention.sequences
    lengths = Lengths(np.array([s.q_len for s in entries]), np.array([s.kv_len for s in entries]))
    tiles = -(-lengths.q_len * group // plan.rows)
    parts = np.array(plan.parts)
    sizes = tiles * parts
    entry, index = ragged(np.arange(len(entries)), sizes)
    own = Lengths(lengths.q_len[entry], lengths.kv_len[entry])
    block, part = index // parts[entry], index % parts[entry]
    first = block * plan.rows
    last = np.minimum(first + plan.rows, own.q_len * group) - 1
    kv_start, kv_stop = _keys(attention, own, first // group, last // group, plan.chunk, part)
    q_rows = last - first + 1
    split = plan.chunk is not None
    width = PARTIAL_BYTES if split else attention.output_bytes
    return Work(
        tiles=Tiles(
            steps=-(-(kv_stop - kv_start) // block_n),
            q_start=first,
            q_rows=q_rows,
            kv_start=kv_start,
            kv_stop=kv_stop,
            loop_bytes=((kv_stop - kv_start) * attention.kv_row_bytes).astype(np.float64),
            load_bytes=q_rows * float(attention.head_dim * attention.element_bytes),
            store_bytes=q_rows * float(attention.value_dim * width + LSE_BYTES * split),
        ),
        group_first=sizes.cumsum() - sizes,
        group_rows=sizes,
        copies=np.array([s.count for s in entries]),
        heads=attention.kv_heads,
        packed=group,
    )


def _keys(
    attention: Attention, own: Lengths, first: Ints, last: Ints, chunk: int | None, part: Ints
) -> tuple[Ints, Ints]:
    """Keys [start, stop) of a part: chunks begin at the first key that the tile's window shows."""
    start = first_key(attention, own, first)
    stop = last_key(attention, own, last) + 1
    if chunk is None:
        return start, np.maximum(start, stop)
    low = np.minimum(start + part * chunk, own.kv_len)
    high = np.minimum(low + chunk, own.kv_len)
    return low, np.minimum(np.maximum(stop, low), high)


def planned_operands(
    attention: Attention, work: Work, plan: Plan
) -> tuple[tuple[Operand, ...], tuple[Operand, ...]]:
    """Q, K and V read; the output written, or partial results."""
    tiles = work.tiles
    loop = work.total(tiles.loop_bytes)
    reads = (
        Operand(
            name="q",
            unique_bytes=q_bytes(attention),
            requested_bytes=work.total(tiles.load_bytes),
        ),
        Operand(name="kv", unique_bytes=min(loop, kv_bytes(attention)), requested_bytes=loop),
    )
    stored = once("o" if plan.chunk is None else "partial", work.total(tiles.store_bytes))
    return reads, (stored,)


def _padded(work: Work, slots: int, plan: Plan) -> Work:
    """The work with the idle CTAs of a captured graph, where they change which SM has how many.

    They end at once. Only in a launch of a single wave does their place matter: two CTAs with work
    of different heads may then share an SM while others stay idle.
    """
    idle = plan.items - int((work.group_rows * work.copies).sum())
    if idle <= 0 or plan.items * work.heads > slots:
        return work
    tiles = Tiles(
        **{name: np.append(getattr(work.tiles, name), 0) for name in Tiles.__dataclass_fields__}
    )
    return replace(
        work,
        tiles=tiles,
        group_first=np.append(work.group_first, len(work.tiles)),
        group_rows=np.append(work.group_rows, 1),
        copies=np.append(work.copies, idle),
    )
