"""The output tiles of a batch in one list, for kernels that walk all of them as one line."""

from dataclasses import dataclass

import numpy as np

from gpusim.errors import SpecError
from gpusim.schedules.columns import Ints
from gpusim.schedules.grid import MAX_ROWS, ragged
from gpusim.schedules.mask import Lengths, block_range
from gpusim.schedules.tile import Tile
from gpusim.spec.attention import Attention


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """Output tiles in the order batch, head, query tile. Copies and heads of an entry are alike.

    Columns, a row per distinct tile, which is a query tile of an entry of the sequences:

    Attributes:
        entry: which one.
        q_start, q_rows: first query row and real rows; none where a plan has tiles to spare.
        kv_first, kv_tiles: first KV tile that the mask leaves, and how many.
        kv_len: of its sequence.
        planned: KV tiles in the plan, at least one and no fewer than `kv_tiles`.
        repeats: outputs that are like it.

    And a row per output:

    Attributes:
        row: its distinct tile.
        stream: which sequence (copies count) and head or packed group, numbered with heads inside.
    """

    entry: Ints
    q_start: Ints
    q_rows: Ints
    kv_first: Ints
    kv_tiles: Ints
    kv_len: Ints
    planned: Ints
    repeats: Ints
    row: Ints
    stream: Ints

    def __len__(self) -> int:
        return len(self.row)

    @property
    def total_tiles(self) -> int:
        """KV tiles in the plan of all outputs."""
        return int(self.planned @ self.repeats)


def list_outputs(
    attention: Attention, tile: Tile, packed: int, *, fixed_maximum: bool = False
) -> Outputs:
    """All output tiles, each planned with the KV tiles that it has.

    With `fixed_maximum` every sequence is planned alike: as many query tiles as the longest has,
    each with the most KV tiles that any sequence has there.

    Raises:
        SpecError: if the list would not fit in memory.
    """
    entries, heads = attention.sequences, attention.q_heads // packed
    q_len, kv_len, copies = np.array([(s.q_len, s.kv_len, s.count) for s in entries]).T
    blocks = -(-q_len * packed // tile.block_m)
    if fixed_maximum:
        blocks = np.full_like(blocks, blocks.max())
    total = int((blocks * copies).sum()) * heads
    if total > MAX_ROWS:
        raise SpecError(f"sequences: expected at most {MAX_ROWS} tiles, found {total}")
    entry, block = ragged(np.arange(len(entries)), blocks)
    own = Lengths(q_len[entry], kv_len[entry])
    rows = own.q_len * packed
    first = np.minimum(block * tile.block_m, rows)
    q_rows = np.minimum(first + tile.block_m, rows) - first
    last = np.maximum(first + q_rows - 1, 0)
    start, stop = block_range(attention, own, first // packed, last // packed, tile.block_n)
    tiles = np.where(q_rows > 0, stop - start, 0)
    planned = np.maximum(1, tiles)
    if fixed_maximum:
        most = np.ones(int(blocks.max()), dtype=np.int64)
        np.maximum.at(most, block, tiles)
        planned = most[block]
    # So far once; now for every copy and head.
    streams = copies * heads
    length = np.repeat(blocks, streams)
    distinct = np.repeat(np.cumsum(blocks) - blocks, streams) - (np.cumsum(length) - length)
    return Outputs(
        entry=entry,
        q_start=first,
        q_rows=q_rows,
        kv_first=start,
        kv_tiles=tiles,
        kv_len=own.kv_len,
        planned=planned,
        repeats=streams[entry],
        row=np.arange(total) + np.repeat(distinct, length),
        stream=np.repeat(np.arange(len(length), dtype=np.int64), length),
    )
