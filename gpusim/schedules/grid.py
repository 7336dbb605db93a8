"""The work table of a tiled forward kernel: which CTA does which query tile and KV range."""

from dataclasses import dataclass

import numpy as np

from gpusim.errors import SpecError
from gpusim.schedules.columns import Floats, Ints
from gpusim.schedules.launch import Operand, once
from gpusim.schedules.mask import Lengths, block_range, kv_bytes, q_bytes
from gpusim.schedules.tile import Tile
from gpusim.schedules.work import Tiles, Work
from gpusim.spec.attention import Attention

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
    entries = attention.sequences
    lengths = Lengths(np.array([s.q_len for s in entries]), np.array([s.kv_len for s in entries]))
    blocks = -(-lengths.q_len * grid.packed // tile.block_m)
    sizes = blocks * np.array(grid.splits)
    if sizes.sum() > MAX_ROWS:
        raise SpecError(f"sequences: expected at most {MAX_ROWS} tiles, found {sizes.sum()}")
    return Work(
        tiles=_rows(attention, lengths, tile, grid, blocks, sizes),
        group_first=sizes.cumsum() - sizes,
        group_rows=sizes,
        copies=np.array([s.count for s in entries]),
        heads=attention.q_heads // grid.packed,
        heads_inner=grid.heads_inner,
        section=grid.section,
        packed=grid.packed,
        sequence_order=np.argsort(-lengths.kv_len, kind="stable")
        if grid.sorted_sequences
        else None,
    )


def ragged(values: Ints, repeats: Ints) -> tuple[Ints, Ints]:
    """Each value so many times, and 0, 1, 2, ... along each run of it."""
    ends = repeats.cumsum()
    return values.repeat(repeats), np.arange(ends[-1]) - (ends - repeats).repeat(repeats)


def _rows(
    attention: Attention, lengths: Lengths, tile: Tile, grid: Grid, blocks: Ints, sizes: Ints
) -> Tiles:
    """A row per (sequence, split, query tile), each with the lengths of its own sequence.

    Bytes are counted in floating point from the start, exactly: they are whole numbers.
    """
    entry, index = ragged(np.arange(len(sizes)), sizes)
    own = Lengths(lengths.q_len[entry], lengths.kv_len[entry])
    block = index % blocks[entry]
    if grid.longest_first:
        block = blocks[entry] - 1 - block
    first = block * tile.block_m
    last = np.minimum(first + tile.block_m, own.q_len * grid.packed) - 1
    start, stop = block_range(
        attention, own, first // grid.packed, last // grid.packed, tile.block_n
    )
    out_bytes: Floats | float = float(attention.output_bytes)
    if max(grid.splits) > 1:
        splits, split = np.array(grid.splits)[entry], index // blocks[entry]
        whole = stop - start if grid.split_after_mask else -(-own.kv_len // tile.block_n)
        per_split = -(-whole // splits)
        low = split * per_split + (start if grid.split_after_mask else 0)
        start, stop = (np.minimum(np.maximum(x, start), stop) for x in (low, low + per_split))
        out_bytes = np.where(splits > 1, 4.0, out_bytes)
    kv_start, kv_stop = (np.minimum(x * tile.block_n, own.kv_len) for x in (start, stop))
    q_rows = last - first + 1
    return Tiles(
        steps=stop - start,
        q_start=first,
        q_rows=q_rows,
        kv_start=kv_start,
        kv_stop=kv_stop,
        loop_bytes=(kv_stop - kv_start) * float(attention.kv_row_bytes),
        load_bytes=q_rows * float(attention.head_dim * attention.element_bytes),
        store_bytes=q_rows * (attention.value_dim * out_bytes + LSE_BYTES),
    )


def grid_operands(
    attention: Attention, work: Work, grid: Grid
) -> tuple[tuple[Operand, ...], tuple[Operand, ...]]:
    """What a forward kernel reads (Q, K, V) and writes (O, or partial results where it splits)."""
    tiles = work.tiles
    loop, stored = work.total(tiles.loop_bytes), work.total(tiles.store_bytes)
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
    partial = 0.0
    if max(grid.splits) > 1:
        split = (np.array(grid.splits) > 1).repeat(work.group_rows)
        partial = work.total(split * tiles.store_bytes)
    parts = (("o", stored - partial), ("partial", partial))
    return reads, tuple(once(name, size) for name, size in parts if size)
