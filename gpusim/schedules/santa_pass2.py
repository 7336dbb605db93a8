"""The second half of S²ANTA-prop: the output set to zero, sampled value rows added, the cast."""

import numpy as np

from gpusim.schedules import santa
from gpusim.schedules.launch import Launch, Operand, once
from gpusim.schedules.sampling import union_rows
from gpusim.schedules.step import Part, Pipe, Step
from gpusim.schedules.work import flat_work
from gpusim.spec.attention import Attention
from gpusim.spec.gpu import Gpu
from gpusim.units import ceil_div

FILL_REGISTERS = 20  # PyTorch's kernel: a guess that limits nothing
BUDGET_BYTES = 8  # scale and offset of a tile and head


def pass2(
    attention: Attention, gpu: Gpu, keys: santa.KeyTiles, *, distinct: float, samples: int
) -> Launch:
    """One CTA per (KV head, tile), KV heads first: counts, row list, gather, atomic adds.

    Rows are 128 threads a head. One warp a head reads the stash 32 keys at a time, each from a
    32-byte sector that the group's heads share; then the head's rows come one after another, one
    wait each. A CTA whose heads drew nothing ends early: of S draws over T tiles alike, the share
    (1 - min(1, S/T))^group. `distinct` are the rows that one head reads of all keys.
    """
    group, dim = attention.group_size, attention.head_dim
    share, lengths = distinct / keys.kv_len, (keys.stop - keys.start).astype(np.float64)
    asked = group * share * dim * attention.element_bytes  # of V per key and KV head
    active = 1 - (1 - min(1.0, samples / len(lengths))) ** group
    sectors = santa.stash_bytes(attention, gpu, lengths)
    work = flat_work(
        np.ones_like(keys.start),
        steps=1,
        q_rows=group,
        loop_bytes=sectors + lengths * asked + group * BUDGET_BYTES,
        store_bytes=active * group * dim * 4,
        heads=attention.kv_heads,
    )
    v_bytes = union_rows(keys.kv_len, distinct, group) * attention.kv_heads * dim
    budgets = float(work.num_items * group * BUDGET_BYTES)
    return Launch(
        name="pass2",
        threads=128 * group,
        registers=santa.registers("pass2", gpu),
        smem_bytes=16 + group * dim * 4 + group * keys.block_n * 2 + keys.block_n * 4,
        step=_gather_step(keys, group, dim, share * keys.rows, work.tiles.loop_bytes[0]),
        work=work,
        tile={"block_n": keys.block_n, "num_warps": 4 * group, "samples": samples},
        reads=(
            Operand(
                name="stash",
                unique_bytes=float(keys.kv_len * attention.q_heads * attention.element_bytes),
                requested_bytes=work.total(sectors),
                rereads=(),  # by the next CTAs
            ),
            Operand(
                name="v",
                unique_bytes=v_bytes * attention.element_bytes,
                requested_bytes=work.total(lengths * asked),
                rereads=(),
            ),
            once("budgets", budgets),
        ),
        writes=(
            Operand(
                name="accumulator",
                unique_bytes=float(attention.q_heads * dim * 4),
                requested_bytes=work.total(work.tiles.store_bytes),
            ),
        ),
    )


def _gather_step(
    keys: santa.KeyTiles, group: int, dim: int, gathered: float, load_bytes: float
) -> Step:
    """A whole tile: counting, then `gathered` rows a head, one wait each; four barriers."""
    gather = {Pipe.FP32: group * gathered * dim, Pipe.SMEM: 8.0 * group * gathered * dim}
    return Step(
        tracks=((santa.sampling_part(keys.rows, group), Part("gather", gather)),),
        load_bytes=float(load_bytes),
        loads=1 + ceil_div(keys.rows, 32) + max(1, round(gathered)),
        syncs=2,
    )


def fill(attention: Attention) -> Launch:
    """Zeros for the fp32 output, [query heads, head size]; 128 threads of four elements."""
    return _elementwise(attention, "fill", 512, threads=128, registers=FILL_REGISTERS, sizes=(0, 4))


def cast_scale(attention: Attention, gpu: Gpu, *, sequences: int = 1) -> Launch:
    """The sums divided by S, in 16 bit; 256 threads of one element."""
    registers = santa.registers("cast_scale", gpu)
    return _elementwise(
        attention,
        "cast_scale",
        256,
        threads=256,
        registers=registers,
        sizes=(4, attention.output_bytes),
        sequences=sequences,
    )


def _elementwise(
    attention: Attention,
    name: str,
    elements: int,
    *,
    threads: int,
    registers: int,
    sizes: tuple[int, int],
    sequences: int = 1,
) -> Launch:
    """One CTA per `elements` of the output; `sizes` are bytes read and written per element."""
    read, write = sizes
    total = sequences * attention.q_heads * attention.head_dim
    ctas = ceil_div(total, elements)
    per_cta = total / ctas
    source = once("accumulator", 1.0 * total * read)
    target = once("o" if read else "accumulator", 1.0 * total * write)
    return Launch(
        name=name,
        threads=threads,
        registers=registers,
        smem_bytes=0,
        step=Step(
            tracks=((Part(name, {Pipe.CONVERT if read else Pipe.FP32: per_cta}),),),
            load_bytes=per_cta * read,
            loads=1 if read else 0,
            syncs=0,
        ),
        work=flat_work(ctas, steps=1, loop_bytes=per_cta * read, store_bytes=per_cta * write),
        reads=(source,) if read else (),
        writes=(target,),
    )
