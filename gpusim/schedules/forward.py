"""The forward launch of the FlashAttention-2 family, with or without KV splits."""

import numpy as np

from gpusim.errors import SpecError
from gpusim.schedules.launch import Launch, Operand
from gpusim.schedules.mask import block_range, kv_bytes, q_bytes
from gpusim.schedules.step import attention_step
from gpusim.schedules.tile import Tile
from gpusim.schedules.work import Tiles, Work
from gpusim.spec.attention import BYTES, Attention, Sequence
from gpusim.units import ceil_div

LSE_BYTES = 4  # one fp32 log-sum-exp a row
MAX_ROWS = 2**22  # of the work table, a few hundred bytes each


def packed_heads(attention: Attention) -> int:
    """Query heads that FlashAttention-2 packs into the rows of one tile.

    With one query a sequence, several query heads per KV head and no window, the group's heads
    become query rows (`seqlenq_ngroups_swapped` in `flash_api.cpp`): K and V are then read once
    per KV head.
    """
    swaps = attention.single_query and attention.window is None
    return attention.group_size if swaps else 1


def forward_launch(attention: Attention, tile: Tile, *, name: str, splits: int = 1) -> Launch:
    """One CTA per (query tile, split, batch, head).

    Grid order: (m, batch, head) without splits, (m, split, batch·head) with them, first fastest.
    With splits, each CTA writes a normalised fp32 partial output and its log-sum-exp instead of O.
    """
    packed = packed_heads(attention)
    heads = attention.q_heads // packed
    rows = splits * sum(ceil_div(s.q_len * packed, tile.block_m) for s in attention.sequences)
    if rows > MAX_ROWS:
        raise SpecError(f"sequences: expected at most {MAX_ROWS} tiles of {name}, found {rows}")
    tables = [_tiles(attention, s, tile, packed, splits) for s in attention.sequences]
    sizes = np.array([len(t) for t in tables])
    work = Work(
        tiles=Tiles.concatenate(tables),
        group_first=np.cumsum(sizes) - sizes,
        group_rows=sizes,
        copies=np.array([s.count for s in attention.sequences]),
        heads=heads,
        heads_inner=splits > 1,
        packed=packed,
    )
    tiles = work.tiles
    kv_requested = work.total(tiles.loop_bytes)
    stored = work.total(tiles.store_bytes)
    return Launch(
        name=name,
        threads=tile.threads,
        registers=tile.registers_per_thread,
        smem_bytes=tile.smem_bytes,
        step=attention_step(
            tile,
            matrix_dtype=attention.dtype,
            kv_element_bytes=BYTES[attention.cache_dtype],
        ),
        work=work,
        reads=(
            Operand(
                name="q",
                unique_bytes=q_bytes(attention),
                requested_bytes=work.total(tiles.load_bytes),
            ),
            Operand(
                name="kv",
                unique_bytes=min(kv_requested, kv_bytes(attention)),
                requested_bytes=kv_requested,
                heads_per_stream=attention.group_size // packed,
            ),
        ),
        writes=(
            Operand(
                name="o" if splits == 1 else "partial",
                unique_bytes=stored,
                requested_bytes=stored,
            ),
        ),
    )


def _tiles(attention: Attention, seq: Sequence, tile: Tile, packed: int, splits: int) -> Tiles:
    """Rows of one sequence and head (or packed group): m fastest, then split."""
    rows = seq.q_len * packed
    first = np.arange(0, rows, tile.block_m)
    last = np.minimum(first + tile.block_m, rows) - 1
    start, stop = block_range(attention, seq, first // packed, last // packed, tile.block_n)
    if splits > 1:
        per_split = ceil_div(ceil_div(seq.kv_len, tile.block_n), splits)
        split_start = (np.arange(splits) * per_split)[:, None]
        start = np.maximum(start, split_start)
        stop = np.maximum(start, np.minimum(stop, split_start + per_split))
        first, last = (np.broadcast_to(x, start.shape) for x in (first, last))
    start, stop, first, last = (x.ravel() for x in (start, stop, first, last))
    kv_start = np.minimum(start * tile.block_n, seq.kv_len)
    kv_stop = np.minimum(stop * tile.block_n, seq.kv_len)
    q_rows = last - first + 1
    out_bytes = attention.output_bytes if splits == 1 else 4
    return Tiles(
        steps=stop - start,
        q_start=first,
        q_rows=q_rows,
        kv_start=kv_start,
        kv_stop=kv_stop,
        loop_bytes=((kv_stop - kv_start) * attention.kv_row_bytes).astype(np.float64),
        load_bytes=(q_rows * attention.head_dim * attention.element_bytes).astype(np.float64),
        store_bytes=(q_rows * (attention.value_dim * out_bytes + LSE_BYTES)).astype(np.float64),
    )
