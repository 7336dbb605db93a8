"""The project's own S²ANTA-flash (`validation/kernels/santa_flash.py`)."""

from dataclasses import replace

import numpy as np

from gpusim.schedules import santa
from gpusim.schedules.launch import Launch, once
from gpusim.schedules.sampling import distinct_rows
from gpusim.schedules.santa_flash import SAMPLES, merge_tiles, tile_budget
from gpusim.schedules.triton_options import Options
from gpusim.schedules.triton_santa import (
    MAX_DRAWS,
    build,
    drawn_bytes,
    key_tiles,
    queries,
    sampling,
    tile_step,
    weighing,
)
from gpusim.spec.attention import Attention
from gpusim.spec.gpu import Gpu


def santa_flash_options(attention: Attention, gpu: Gpu) -> Options:  # noqa: ARG001
    """The release's tile length, and as many draws a tile as the kernel can count."""
    block_n = santa.tile_keys(santa.one_length(attention))
    tiles = len(key_tiles(attention, block_n).start)
    return {
        "block_n": block_n,
        "num_warps": 8 if block_n == 256 else 4,
        "budget": min(MAX_DRAWS, tile_budget(SAMPLES, tiles)),
    }


def santa_flash(attention: Attention, gpu: Gpu) -> tuple[Launch, ...]:
    """The fused tiles, a CTA per (tile, KV head, sequence), then the merge."""
    options = santa_flash_options(attention, gpu)
    keys = key_tiles(attention, options["block_n"])
    merge = merge_tiles(attention, gpu, len(keys.start), scans=1)
    resources = build("finalize", attention, gpu).resources
    return _fused(attention, gpu, keys, options["budget"]), replace(merge, **resources)


def _fused(attention: Attention, gpu: Gpu, keys: santa.KeyTiles, budget: int) -> Launch:
    lengths = (keys.stop - keys.start).astype(np.float64)
    distinct = np.array([distinct_rows(int(n), budget, santa.LOGIT_SIGMA) for n in lengths])
    k = lengths * attention.head_dim * attention.element_bytes
    v = drawn_bytes(attention, lengths, distinct)
    group, block_n = attention.group_size, keys.block_n
    part_bytes = 4.0 * group * attention.head_dim
    work = santa.tile_work(
        attention,
        keys,
        batch=attention.batch,
        loop=k + v,
        store=part_bytes + group * santa.STAT_BYTES,
    )
    parts = (*weighing(attention, block_n), *sampling(attention, block_n))
    stats = float(work.num_items * group * santa.STAT_BYTES)
    return Launch(
        name="fused_tiles",
        **build("fused_tiles", attention, gpu, block_n=block_n).resources,
        step=tile_step(attention, parts, float((k + v)[0])),
        work=work,
        tile={"block_n": block_n, "samples_per_tile": budget},
        reads=(
            queries(attention, work),
            once("k", work.total(k)),
            once("v", work.total(v)),
        ),
        writes=(once("stats", stats), once("out_tiles", work.num_items * part_bytes)),
    )
