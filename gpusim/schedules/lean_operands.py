"""What LeanAttention's workers read and write, and at what distance they come back to K and V."""

import numpy as np

from gpusim.schedules.columns import Floats, Ints
from gpusim.schedules.launch import Operand, Rereads, once
from gpusim.schedules.lean_segments import SegmentKinds
from gpusim.schedules.mask import q_bytes, seen_keys
from gpusim.schedules.work import Work
from gpusim.spec.attention import Attention

#: Equal parts of the re-reads that stand for the spread of their distances.
PARTS = 16


def lean_operands(
    attention: Attention, work: Work, kinds: SegmentKinds, *, running: int, workers: int
) -> tuple[tuple[Operand, ...], tuple[Operand, ...]]:
    """Q, K and V, partial results and O, with so many of the workers running at once.

    A partial result waits in L2 for the share of the launch that its writer still runs.
    """
    tiles = work.tiles
    partials = np.where(kinds.host, 0.0, tiles.store_bytes)
    partial, stored = work.total(partials), work.total(tiles.store_bytes - partials)
    q = Operand(
        name="q", unique_bytes=q_bytes(attention), requested_bytes=work.total(tiles.load_bytes)
    )
    keys, out = _keys(attention, work, kinds.entry, running), once("o", stored)
    if not partial:
        return (q, keys), (out,)
    later = work.total(partials * kinds.later) / partial
    touched = q.unique_bytes + keys.unique_bytes + partial + stored
    scratch = Operand(
        name="partial",
        unique_bytes=partial,
        requested_bytes=partial,
        scratch_distance=later * touched * running / workers,
    )
    return (q, keys, scratch), (out, scratch)


def _keys(attention: Attention, work: Work, entry: Ints, running: int) -> Operand:
    """K and V, of each entry of the sequences on its own, since only some are walked again."""
    tiles, size = work.tiles, attention.kv_row_bytes
    entries = attention.sequences
    copies = np.array([s.count for s in entries])
    seen = np.array([seen_keys(attention, s) for s in entries])
    streams = copies * attention.kv_heads
    walked, steps = (
        np.bincount(entry, weights=column * work.counts, minlength=len(copies))
        for column in (tiles.kv_stop - tiles.kv_start, tiles.steps)
    )
    asked = (walked * size).astype(np.float64)
    unique = np.minimum(asked, streams * seen * size)
    rereads: Rereads = ()
    if (asked > unique).any():
        rereads = _rereads(asked, unique, streams, running * steps / steps.sum() / streams, running)
    return Operand(
        name="kv",
        unique_bytes=float(unique.sum()),
        requested_bytes=float(asked.sum()),
        rereads=rereads,
    )


def _rereads(
    asked: Floats, unique: Floats, streams: Ints, per_stream: Floats, running: int
) -> Rereads:
    """Of each entry, what its streams are asked for again, and after how much.

    Workers do not walk K and V in step: with at least one for each of an entry's streams, they
    stand anywhere in it. In a time t, in units of what passes until a byte is asked for again on
    average, they cover the share 1 - exp(-t) of it, and of an entry walked m times where this one
    is walked n times 1 - exp(-t·m/n). The time to the next worker is exponential, here in `PARTS`
    equal parts; an LRU count of the plan, tile by tile, misses within 0.1 of this:

        distance(t) = sum over entries of kv·(1 - exp(-t·m/n))

    With fewer workers than streams the same worker comes back, one stream times all workers later.
    Entries whose walks differ by less than an eighth of a doubling are taken together.
    """
    classes, index = np.unique(np.round(8 * np.log2(asked / unique)), return_inverse=True)
    kv = np.bincount(index, weights=unique)
    rate = 2 ** ((classes[None, :] - classes[:, None]) / 8)
    times = -np.log(1 - (np.arange(PARTS) + 0.5) / PARTS)
    spread = (1 - np.exp(-times[:, None, None] * rate)) @ kv
    alone = np.minimum(unique / streams * running, unique.sum())
    return tuple(
        (float(bytes_) / PARTS, float(distance))
        for e, bytes_ in enumerate(asked - unique)
        if bytes_ > 0
        for distance in (spread[:, index[e]] if per_stream[e] >= 1 else [alone[e]] * PARTS)
    )
