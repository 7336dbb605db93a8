"""LeanAttention: decode attention that deals the KV tiles of a batch out evenly (Stream-K).

Sanovar, Bharadwaj et al., "Lean Attention: Hardware-Aware Scalable Attention Mechanism for the
Decode-Phase of Transformers" (arXiv 2405.10480, MLSys 2025), as built in ONNX Runtime,
`contrib_ops/cuda/bert/lean_attention`, by an author of the paper.
"""

from dataclasses import replace

import numpy as np

from gpusim.schedules.forward import packed_heads, tile_launch
from gpusim.schedules.launch import Launch
from gpusim.schedules.lean_operands import lean_operands
from gpusim.schedules.lean_segments import partial_row_bytes, segment_kinds
from gpusim.schedules.lists import one_each
from gpusim.schedules.occupancy import slots_of
from gpusim.schedules.outputs import list_outputs
from gpusim.schedules.split_kv import HEAD_DIMS, split_tile
from gpusim.schedules.stream_k import cut, lean_workers
from gpusim.schedules.tile import Tile, padded_head_dim
from gpusim.schedules.tiling import Tiling
from gpusim.schedules.work import Work
from gpusim.spec.attention import Attention
from gpusim.spec.gpu import Gpu
from gpusim.units import ceil_div


def lean(attention: Attention, gpu: Gpu, tiling: Tiling) -> tuple[Launch, ...]:
    """One launch of at most two workers an SM, each with an equal run of tiles, output by output.

    Tiles and shared memory are those of FlashAttention-2's split kernel, and so is the packing of
    query heads. Released for head sizes 64 and 128 only; the others of that kernel's table are
    taken as if they were.

    The worker with an output's first tile writes it. If others share the output, each of them
    writes a partial result (fp32, with its log-sum-exp) as its own first deed, and the first one
    waits for theirs at the end of its run and merges them one by one; its own stays in shared
    memory. Flags, and the clearing of them before the launch, are not counted.

    Sequences are planned with their own lengths, as in AITER's kernel; `fixed_maximum` plans all of
    them with the longest and skips the tiles that a sequence lacks, as ONNX Runtime does.
    """
    head_dim = padded_head_dim(attention, HEAD_DIMS)
    tile = split_tile(head_dim).overridden(tiling)
    fixed = bool(tiling.fixed_maximum)
    packed = packed_heads(attention)
    return (lean_launch(attention, gpu, tile, packed, fixed_maximum=fixed),)


def lean_launch(
    attention: Attention, gpu: Gpu, tile: Tile, packed: int, *, fixed_maximum: bool = False
) -> Launch:
    """The launch for any tile, with `packed` query heads in the rows of one."""
    outputs = list_outputs(attention, tile, packed, fixed_maximum=fixed_maximum)
    longest = ceil_div(max(s.kv_len for s in attention.sequences), tile.block_n)
    workers = lean_workers(outputs.total_tiles, len(outputs), longest, gpu.sm.count)
    slots = slots_of(gpu, **tile.resources)
    plan = cut(outputs.planned[outputs.row], workers)
    kinds = segment_kinds(attention, tile, outputs, plan)
    work = Work(
        tiles=kinds.tiles,
        group_first=np.zeros(1, dtype=np.int64),
        group_rows=np.array([len(kinds.tiles)]),
        copies=np.ones(1, dtype=np.int64),
        heads=1,
        packed=packed,
        lists=one_each(kinds.items, plan.begin),
        peers=kinds.peers,
        stream=outputs.stream[plan.output],
    )
    reads, writes = lean_operands(
        attention, work, kinds, running=min(workers, slots), workers=workers
    )
    return replace(
        tile_launch(attention, tile, work, reads, writes, name="lean_fwd"),
        workers=workers,
        merge_bytes=float(kinds.tiles.q_rows.max() * partial_row_bytes(attention)),
    )
