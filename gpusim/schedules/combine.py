"""The combine kernel of split-KV attention: adds the partial outputs of each query row."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from gpusim.schedules.launch import Launch, once
from gpusim.schedules.step import Part, Pipe, Step
from gpusim.schedules.work import flat_work
from gpusim.spec.attention import Attention

#: No register count is published for the combine kernels; a thread keeps an fp32 accumulator of a
#: few elements. Only their occupancy depends on it.
REGISTERS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Combine:
    """A combine kernel: query rows and threads of a CTA, splits in flight, how it is launched."""

    block_m: int
    threads: int
    stages: int = 1
    programmatic: bool = False


def flash2_combine(head_dim: int) -> Combine:
    """`flash_fwd_splitkv_combine_kernel` (FlashAttention-2 `flash_fwd_launch_template.h`).

    A serial walk over the splits: each step reads one split's fp32 partial row and log-sum-exp and
    waits for it, an L2 latency and the transfer (measured on A100: 0.21 to 0.23 us a split).
    """
    rows = 4 if head_dim % 128 == 0 else 8 if head_dim % 64 == 0 else 16
    return Combine(block_m=rows, threads=128)


def flash3_combine(v_head_dim: int, *, programmatic: bool) -> Combine:
    """`flash_fwd_combine_kernel.h` of FlashAttention-3: four splits in flight.

    On Hopper it is launched early (programmatic dependent launch).
    """
    rows = 16 if v_head_dim <= 64 else 8
    return Combine(block_m=rows, threads=256, stages=4, programmatic=programmatic)


def combine_launch(
    attention: Attention,
    kernel: Combine,
    splits: tuple[int, ...],
    *,
    idle: int = 0,
    single: bool = False,
    plain: bool = False,
    item_clocks: float = 0.0,
) -> Launch:
    """CTAs of `block_m` query rows over all sequences that split, a step per split.

    Args:
        attention: the problem.
        kernel: whose rows and stages.
        splits: of each entry of `attention.sequences`; entries with one have nothing to combine.
        idle: further CTAs, which find nothing to combine and end.
        single: whether entries with one split are walked too.
        plain, item_clocks: of the launch.
    """
    rows = [
        (n, s.count * s.q_len * attention.q_heads)
        for s, n in zip(attention.sequences, splits, strict=True)
        if n > 1 or single
    ]
    items = [
        (n, size, copies)
        for n, total in rows
        for size, copies in ((kernel.block_m, total // kernel.block_m), (total % kernel.block_m, 1))
        if size and copies
    ]
    if idle:
        items.append((0, 0, idle))
    steps, sizes, copies = np.array(items).T
    dim = attention.value_dim
    partial_row, row = 4.0 * dim + 4, float(dim * attention.output_bytes) + 4
    partial = partial_row * sum(n * total for n, total in rows)
    stored = row * sum(total for _, total in rows)
    return Launch(
        name="combine",
        threads=kernel.threads,
        registers=REGISTERS,
        smem_bytes=4 * max(splits) * (kernel.block_m + 1),
        step=_step(kernel.block_m, dim, kernel.stages),
        work=flat_work(
            copies,
            steps=steps,
            q_rows=sizes,
            loop_bytes=steps * sizes * partial_row,
            store_bytes=sizes * row,
        ),
        reads=(once("partial", partial),) if partial else (),
        writes=(once("o", stored),) if stored else (),
        programmatic=kernel.programmatic,
        plain=plain,
        item_clocks=item_clocks,
    )


@lru_cache(maxsize=1024)
def _step(rows: int, dim: int, stages: int) -> Step:
    return Step(
        tracks=((Part("accumulate", {Pipe.FP32: float(rows * dim)}),),),
        load_bytes=rows * (4.0 * dim + 4),
        stages=stages,
        syncs=0,
    )
