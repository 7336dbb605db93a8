"""The work table of a tiled forward kernel: which CTA does which query tile and KV range."""

from dataclasses import dataclass

import numpy as np

from gpusim.errors import SpecError
from gpusim.schedules.launch import Operand
from gpusim.schedules.mask import block_range, kv_bytes, q_bytes
from gpusim.schedules.tile import Tile
from gpusim.schedules.work import Ints, Tiles, Work
from gpusim.spec.attention import Attention, Sequence
from gpusim.units import ceil_div

LSE_BYTES = 4  # one fp32 log-sum-exp a row
MAX_ROWS = 2**22  # of the work table, a few hundred bytes each


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """How a kernel lays attention out over CTAs.

    Attributes:
        packed: query heads packed into the rows of a tile.
        splits: parts of the KV range, for each entry of `attention.sequences`.
        split_after_mask: cut what the mask leaves (FlashAttention-3) or the whole range (2).
        heads_inner, section: order of the items, see `Work`.
        longest_first: query tiles from last to first (LPT).
        sorted_sequences: the longest sequences first.
    """

    packed: int
    splits: tuple[int, ...]
    split_after_mask: bool = False
    heads_inner: bool = False
    section: int = 1
    longest_first: bool = False
    sorted_sequences: bool = False


def grid_work(attention: Attention, tile: Tile, grid: Grid) -> Work:
    """Work table of a forward kernel: per sequence and head, query tiles fastest, then splits.

    Raises:
        SpecError: if the table would not fit in memory.
    """
    pairs = list(zip(attention.sequences, grid.splits, strict=True))
    rows = sum(n * ceil_div(s.q_len * grid.packed, tile.block_m) for s, n in pairs)
    if rows > MAX_ROWS:
        raise SpecError(f"sequences: expected at most {MAX_ROWS} tiles, found {rows}")
    tables = [_rows(attention, s, tile, grid, n) for s, n in pairs]
    sizes = np.array([len(t) for t in tables])
    lengths = np.array([s.kv_len for s in attention.sequences])
    return Work(
        tiles=Tiles.concatenate(tables),
        group_first=np.cumsum(sizes) - sizes,
        group_rows=sizes,
        copies=np.array([s.count for s in attention.sequences]),
        heads=attention.q_heads // grid.packed,
        heads_inner=grid.heads_inner,
        section=grid.section,
        packed=grid.packed,
        sequence_order=np.argsort(-lengths, kind="stable") if grid.sorted_sequences else None,
    )


def _rows(attention: Attention, seq: Sequence, tile: Tile, grid: Grid, splits: int) -> Tiles:
    rows = seq.q_len * grid.packed
    first = np.arange(0, rows, tile.block_m)
    if grid.longest_first:
        first = first[::-1]
    last = np.minimum(first + tile.block_m, rows) - 1
    queries = (first // grid.packed, last // grid.packed)
    start, stop = block_range(attention, seq, *queries, tile.block_n)
    if splits > 1:
        all_blocks = np.full_like(stop, ceil_div(seq.kv_len, tile.block_n))
        whole = stop - start if grid.split_after_mask else all_blocks
        origin = start if grid.split_after_mask else np.zeros_like(start)
        start, stop = _split(start, stop, origin, -(-whole // splits), splits)
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


def _split(
    start: Ints, stop: Ints, origin: Ints, per_split: Ints, splits: int
) -> tuple[Ints, Ints]:
    """KV tiles of each (split, query tile)."""
    low = origin + np.arange(splits)[:, None] * per_split
    low = np.minimum(np.maximum(start, low), stop)
    high = origin + np.arange(1, splits + 1)[:, None] * per_split
    return low, np.maximum(low, np.minimum(stop, high))


def grid_operands(
    attention: Attention, work: Work, grid: Grid
) -> tuple[tuple[Operand, ...], tuple[Operand, ...]]:
    """What a forward kernel reads (Q, K, V) and writes (O, or partial results where it splits)."""
    tiles = work.tiles
    loop = work.total(tiles.loop_bytes)
    shared = attention.group_size // grid.packed
    reads = (
        Operand(
            name="q",
            unique_bytes=q_bytes(attention),
            requested_bytes=work.total(tiles.load_bytes),
        ),
        Operand(
            name="kv",
            unique_bytes=min(loop, kv_bytes(attention)),
            requested_bytes=loop,
            heads_per_stream=shared,
        ),
    )
    split = np.repeat(np.array(grid.splits) > 1, work.group_rows)
    stored = {
        "o": work.total(np.where(split, 0.0, tiles.store_bytes)),
        "partial": work.total(np.where(split, tiles.store_bytes, 0.0)),
    }
    writes = tuple(
        Operand(name=name, unique_bytes=size, requested_bytes=size)
        for name, size in stored.items()
        if size
    )
    return reads, writes
