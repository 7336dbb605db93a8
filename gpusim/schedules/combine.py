"""The combine kernel of split-KV attention: adds the partial outputs of each query row."""

import numpy as np

from gpusim.schedules.launch import Launch, Operand
from gpusim.schedules.step import Part, Pipe, Step
from gpusim.schedules.work import Tiles, Work
from gpusim.spec.attention import Attention

#: FlashAttention-2 publishes no register count for its combine kernel; the rows of a 128-thread CTA
#: keep one fp32 accumulator of 4 to 16 elements a thread. Only occupancy depends on it.
REGISTERS = 64


def combine_launch(attention: Attention, head_dim: int, splits: int) -> Launch:
    """`flash_fwd_splitkv_combine_kernel`: 4, 8 or 16 rows a CTA, a serial walk over the splits.

    Each step reads one split's fp32 partial row and log-sum-exp and waits for it (one load in
    flight: measured 0.23 us a split on A100, one L2 latency). Source: FlashAttention-2
    `flash_fwd_launch_template.h`.
    """
    block_m = 4 if head_dim % 128 == 0 else 8 if head_dim % 64 == 0 else 16
    rows = sum(s.count * s.q_len for s in attention.sequences) * attention.q_heads
    full, rest = divmod(rows, block_m)
    sizes = np.array([block_m] * (full > 0) + [rest] * (rest > 0))
    dim = attention.value_dim
    row_bytes = 4.0 * dim + 4
    zeros = np.zeros_like(sizes)
    work = Work(
        tiles=Tiles(
            steps=np.full_like(sizes, splits),
            q_start=zeros,
            q_rows=sizes,
            kv_start=zeros,
            kv_stop=zeros,
            loop_bytes=splits * row_bytes * sizes,
            load_bytes=np.zeros(len(sizes)),
            store_bytes=sizes * (float(dim * attention.output_bytes) + 4),
        ),
        group_first=np.arange(len(sizes)),
        group_rows=np.ones_like(sizes),
        copies=np.array([full] * (full > 0) + [1] * (rest > 0)),
        heads=1,
    )
    partial = work.total(work.tiles.loop_bytes)
    stored = work.total(work.tiles.store_bytes)
    return Launch(
        name="combine",
        threads=128,
        registers=REGISTERS,
        smem_bytes=4 * splits * (block_m + 1),
        step=Step(
            tracks=((Part("accumulate", {Pipe.FP32: float(block_m * dim)}),),),
            load_bytes=block_m * row_bytes,
            syncs=0,
        ),
        work=work,
        reads=(Operand(name="partial", unique_bytes=partial, requested_bytes=partial),),
        writes=(Operand(name="o", unique_bytes=stored, requested_bytes=stored),),
    )
