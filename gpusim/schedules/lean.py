"""LeanAttention: decode attention that deals the KV tiles of a batch out evenly (Stream-K).

Sanovar, Bharadwaj et al., "Lean Attention: Hardware-Aware Scalable Attention Mechanism for the
Decode-Phase of Transformers" (arXiv 2405.10480, MLSys 2025), as built in ONNX Runtime,
`contrib_ops/cuda/bert/lean_attention`, by an author of the paper.
"""

from dataclasses import replace

import numpy as np

from gpusim.schedules.forward import packed_heads, tile_launch
from gpusim.schedules.launch import Launch
from gpusim.schedules.lean_operands import lean_operands, partial_row_bytes
from gpusim.schedules.occupancy import slots_of
from gpusim.schedules.outputs import Outputs, list_outputs
from gpusim.schedules.split_kv import HEAD_DIMS, split_tile
from gpusim.schedules.stream_k import Segments, cut, lean_workers
from gpusim.schedules.tile import Tile, padded_head_dim
from gpusim.schedules.tiling import Tiling
from gpusim.schedules.work import Tiles, Work
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
    workers = lean_workers(int(outputs.planned.sum()), len(outputs), longest, gpu.sm.count)
    slots = slots_of(
        gpu,
        threads=tile.threads,
        registers=tile.registers_per_thread,
        smem_bytes=tile.smem_bytes,
    )
    plan = cut(outputs.planned, workers)
    return _launch(attention, tile, outputs, plan, packed, running=min(workers, slots))


def _launch(
    attention: Attention,
    tile: Tile,
    outputs: Outputs,
    plan: Segments,
    packed: int,
    *,
    running: int,
) -> Launch:
    tiles = _tiles(attention, tile, outputs, plan)
    work = Work(
        tiles=tiles,
        group_first=np.zeros(1, dtype=np.int64),
        group_rows=np.array([len(plan)]),
        copies=np.ones(1, dtype=np.int64),
        heads=1,
        packed=packed,
        owner=plan.worker,
        peers=plan.peers,
        sequence=outputs.sequence[plan.output],
        head=outputs.head[plan.output],
    )
    workers = int(plan.worker[-1]) + 1
    reads, writes = lean_operands(attention, work, plan, running)
    return replace(
        tile_launch(attention, tile, work, reads, writes, name="lean_fwd"),
        workers=workers,
        merge_bytes=float(tiles.q_rows.max() * partial_row_bytes(attention)),
    )


def _tiles(attention: Attention, tile: Tile, outputs: Outputs, plan: Segments) -> Tiles:
    """A row per segment. A host's loop bytes hold the partial results that it reads."""
    output = plan.output
    real, rows, kv_len = (c[output] for c in (outputs.kv_tiles, outputs.q_rows, outputs.kv_len))
    first, stop = np.minimum(plan.first, real), np.minimum(plan.stop, real)
    kv_start, kv_stop = (
        np.minimum((outputs.kv_first[output] + x) * tile.block_n, kv_len) for x in (first, stop)
    )
    partial = rows * partial_row_bytes(attention)
    result = rows * attention.value_dim * attention.output_bytes
    loop = (kv_stop - kv_start) * attention.kv_row_bytes + plan.peers * partial
    return Tiles(
        steps=stop - first,
        q_start=outputs.q_start[output],
        q_rows=rows,
        kv_start=kv_start,
        kv_stop=kv_stop,
        loop_bytes=loop.astype(np.float64),
        load_bytes=(rows * attention.head_dim * attention.element_bytes).astype(np.float64),
        store_bytes=np.where(plan.host, result, partial).astype(np.float64),
    )
