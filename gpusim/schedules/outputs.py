"""The output tiles of a batch in one list, for kernels that walk all of them as one line."""

from dataclasses import dataclass

import numpy as np

from gpusim.errors import SpecError
from gpusim.schedules.grid import MAX_ROWS, ragged
from gpusim.schedules.mask import Lengths, block_range
from gpusim.schedules.tile import Tile
from gpusim.schedules.work import Ints
from gpusim.spec.attention import Attention


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """Columns, a row per output tile, in the order batch, head, query tile.

    Attributes:
        sequence, head: which sequence of the batch (copies count), which head or packed group.
        q_start, q_rows: first query row and real rows; none where a plan has tiles to spare.
        kv_first, kv_tiles: first KV tile that the mask leaves, and how many.
        kv_len: of its sequence.
        planned: KV tiles in the plan, at least one and no fewer than `kv_tiles`.
    """

    sequence: Ints
    head: Ints
    q_start: Ints
    q_rows: Ints
    kv_first: Ints
    kv_tiles: Ints
    kv_len: Ints
    planned: Ints

    def __len__(self) -> int:
        return len(self.planned)


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
    rows = np.array([s.q_len for s in entries]) * packed
    kv_len = np.array([s.kv_len for s in entries])
    copies = np.array([s.count for s in entries])
    blocks = -(-rows // tile.block_m)
    if fixed_maximum:
        blocks = np.full_like(blocks, blocks.max())
    total = int((blocks * copies).sum()) * heads
    if total > MAX_ROWS:
        raise SpecError(f"sequences: expected at most {MAX_ROWS} tiles, found {total}")
    entry, block = ragged(np.arange(len(entries)), blocks)
    first = np.minimum(block * tile.block_m, rows[entry])
    q_rows = np.minimum(first + tile.block_m, rows[entry]) - first
    start, stop = block_range(
        attention,
        Lengths(rows[entry] // packed, kv_len[entry]),
        first // packed,
        np.maximum(first + q_rows - 1, 0) // packed,
        tile.block_n,
    )
    tiles = np.where(q_rows > 0, stop - start, 0)
    most = np.zeros(int(blocks.max()), dtype=np.int64)
    np.maximum.at(most, block, tiles)
    planned = np.maximum(1, most[block] if fixed_maximum else tiles)
    # one row so far per query tile of an entry; now one per copy and head too
    streams = np.repeat(np.arange(len(entries)), copies * heads)
    stream, block = ragged(np.arange(len(streams)), blocks[streams])
    row = (np.cumsum(blocks) - blocks)[streams[stream]] + block
    return Outputs(
        sequence=stream // heads,
        head=stream % heads,
        q_start=first[row],
        q_rows=q_rows[row],
        kv_first=start[row],
        kv_tiles=tiles[row],
        kv_len=kv_len[entry][row],
        planned=planned[row],
    )
