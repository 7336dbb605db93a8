"""The project's own S²ANTA-prop (`validation/kernels/santa_prop.py`): four launches a batch."""

from dataclasses import replace

import numpy as np

from gpusim.schedules import santa
from gpusim.schedules.launch import Launch, Operand, once
from gpusim.schedules.sampling import distinct_rows
from gpusim.schedules.santa_pass2 import cast_scale
from gpusim.schedules.santa_prop import SAMPLES
from gpusim.schedules.step import Part, Pipe, Step
from gpusim.schedules.triton_options import Options
from gpusim.schedules.triton_santa import (
    build,
    drawn_bytes,
    key_tiles,
    queries,
    sampling,
    tile_step,
    weighing,
)
from gpusim.schedules.work import flat_work
from gpusim.spec.attention import Attention
from gpusim.spec.gpu import Gpu

BLOCK_N = 256
FLOAT = 4


def santa_prop_options(attention: Attention, gpu: Gpu) -> Options:  # noqa: ARG001
    """The paper's draws."""
    key_tiles(attention, BLOCK_N)
    return {"samples": SAMPLES}


def santa_prop(attention: Attention, gpu: Gpu) -> tuple[Launch, ...]:
    """Weights, budgets, drawn rows and the mean."""
    keys = key_tiles(attention, BLOCK_N)
    cast = cast_scale(attention, gpu, sequences=attention.batch)
    return (
        _pass1(attention, gpu, keys),
        _tile_budgets(attention, gpu, len(keys.start)),
        _pass2(attention, gpu, keys),
        replace(cast, **build("cast_scale", attention, gpu).resources),
    )


def _pass1(attention: Attention, gpu: Gpu, keys: santa.KeyTiles) -> Launch:
    """A CTA per (tile, KV head, sequence): a group's weights of a key are one 32-byte sector."""
    lengths = (keys.stop - keys.start).astype(np.float64)
    k = lengths * attention.head_dim * attention.element_bytes
    stash = santa.stash_bytes(attention, gpu, lengths)
    statistics = attention.group_size * santa.STAT_BYTES
    work = santa.tile_work(attention, keys, batch=attention.batch, loop=k, store=stash + statistics)
    return Launch(
        name="pass1",
        **build("pass1", attention, gpu).resources,
        step=tile_step(attention, weighing(attention, BLOCK_N), float(k[0])),
        work=work,
        tile={"block_n": BLOCK_N},
        reads=(queries(attention, work), once("k", work.total(k))),
        writes=(
            _stash(attention, keys, work.total(stash)),
            once("stats", float(work.num_items * statistics)),
        ),
    )


def _tile_budgets(attention: Attention, gpu: Gpu, tiles: int) -> Launch:
    """A CTA a query head: shares of the tiles, ranks of what is left over, a cleared output row."""
    heads, cleared = attention.batch * attention.q_heads, float(FLOAT * attention.head_dim)
    stats, budgets = float(santa.STAT_BYTES * tiles), 2.0 * FLOAT * tiles
    share = Part("share", {Pipe.EXP2: float(tiles), Pipe.FP32: 4.0 * tiles + 3.0 * tiles**2})
    return Launch(
        name="tile_budgets",
        **build("tile_budgets", attention, gpu).resources,
        step=Step(tracks=((share,),), load_bytes=stats, loads=2, syncs=3),
        work=flat_work(heads, steps=1, loop_bytes=stats, store_bytes=budgets + cleared),
        reads=(once("stats", heads * stats),),
        writes=(once("budgets", heads * budgets), once("accumulator", heads * cleared)),
    )


def _pass2(attention: Attention, gpu: Gpu, keys: santa.KeyTiles) -> Launch:
    """A CTA per (KV head, tile, sequence). Rows are read as if drawn from all keys at once."""
    lengths = (keys.stop - keys.start).astype(np.float64)
    share = distinct_rows(keys.kv_len, SAMPLES, santa.LOGIT_SIGMA) / keys.kv_len
    v = drawn_bytes(attention, lengths, lengths * share)
    stash, group = santa.stash_bytes(attention, gpu, lengths), attention.group_size
    budgets, added = 2.0 * FLOAT * group, float(FLOAT * group * attention.head_dim)
    work = flat_work(
        np.full_like(keys.start, attention.batch),
        steps=1,
        q_rows=group,
        loop_bytes=stash + v + budgets,
        store_bytes=added,
        heads=attention.kv_heads,
    )
    step = tile_step(attention, sampling(attention, BLOCK_N), float(work.tiles.loop_bytes[0]))
    sums = float(FLOAT * attention.batch * attention.q_heads * attention.head_dim)
    return Launch(
        name="pass2",
        **build("pass2", attention, gpu).resources,
        step=replace(step, loads=3),  # the stash, the budgets, the rows
        work=work,
        tile={"block_n": BLOCK_N, "samples": SAMPLES},
        reads=(
            _stash(attention, keys, work.total(stash)),
            once("v", work.total(v)),
            once("budgets", work.num_items * budgets),
        ),
        writes=(
            Operand(name="accumulator", unique_bytes=sums, requested_bytes=work.num_items * added),
        ),
    )


def _stash(attention: Attention, keys: santa.KeyTiles, requested: float) -> Operand:
    """Weights [keys, query heads], by sectors that neighbouring CTAs share."""
    size = attention.batch * keys.kv_len * attention.q_heads * attention.element_bytes
    return Operand(name="stash", unique_bytes=float(size), requested_bytes=requested, rereads=())
