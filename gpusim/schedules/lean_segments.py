"""The distinct segments of a LeanAttention launch: outputs as a whole, and the parts of others.

Of tens of thousands of segments nearly all are whole outputs, equal across copies and heads. What a
segment costs is therefore worked out once for each kind.
"""

from dataclasses import dataclass

import numpy as np

from gpusim.schedules.columns import Bools, Floats, Ints
from gpusim.schedules.outputs import Outputs
from gpusim.schedules.stream_k import Segments
from gpusim.schedules.tile import Tile
from gpusim.schedules.work import Tiles
from gpusim.spec.attention import Attention


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentKinds:
    """Columns, a row per kind of segment; every part of an output is a kind of its own.

    Attributes:
        tiles: what it does. A host's loop bytes hold the partial results that it reads.
        host: whether it holds the first tile of its output, so that its worker writes that.
        peers, later: see `Segments`.
        entry: which entry of the sequences it belongs to.
        items: per segment, its kind.
    """

    tiles: Tiles
    host: Bools
    peers: Ints
    later: Floats
    entry: Ints
    items: Ints


def partial_row_bytes(attention: Attention) -> int:
    """A row of a partial result: O in fp32 and its log-sum-exp."""
    return 4 * attention.value_dim + 4


def segment_kinds(
    attention: Attention, tile: Tile, outputs: Outputs, plan: Segments
) -> SegmentKinds:
    """A kind per distinct output, if any of them stays whole, and a kind per part."""
    distinct = outputs.row[plan.output]
    own = distinct[plan.part]
    shared = np.bincount(own[plan.first == 0], minlength=len(outputs.repeats))
    some = outputs.repeats > shared
    items = (np.cumsum(some, dtype=np.int64) - 1)[distinct]
    kept = np.flatnonzero(some)
    items[plan.part] = np.arange(len(kept), len(kept) + len(own))
    none = np.zeros_like(kept)
    row, first = np.concatenate((kept, own)), np.concatenate((none, plan.first))
    stop = np.concatenate((outputs.planned[kept], plan.stop))
    peers = np.concatenate((none, plan.peers))
    return SegmentKinds(
        tiles=_tiles(attention, tile, outputs, row, (first, stop), peers),
        host=first == 0,
        peers=peers,
        later=np.concatenate((none, plan.later)),
        entry=outputs.entry[row],
        items=items,
    )


def _tiles(
    attention: Attention,
    tile: Tile,
    outputs: Outputs,
    row: Ints,
    run: tuple[Ints, Ints],
    peers: Ints,
) -> Tiles:
    """Runs of planned tiles of distinct outputs, hosts with so many peers."""
    columns = (outputs.kv_first, outputs.kv_tiles, outputs.q_rows, outputs.kv_len)
    kv_first, real, rows, kv_len = (column[row] for column in columns)
    first, stop = (np.minimum(x, real) for x in run)
    kv_start, kv_stop = (np.minimum((kv_first + x) * tile.block_n, kv_len) for x in (first, stop))
    partial = rows * float(partial_row_bytes(attention))
    result = rows * float(attention.value_dim * attention.output_bytes)
    return Tiles(
        steps=stop - first,
        q_start=outputs.q_start[row],
        q_rows=rows,
        kv_start=kv_start,
        kv_stop=kv_stop,
        loop_bytes=(kv_stop - kv_start) * float(attention.kv_row_bytes) + peers * partial,
        load_bytes=(rows * attention.head_dim * attention.element_bytes).astype(np.float64),
        store_bytes=np.where(run[0] == 0, result, partial),
    )
