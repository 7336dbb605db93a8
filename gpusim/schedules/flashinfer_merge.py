"""FlashInfer's merge of partial results (`cascade.cuh`)."""

from functools import lru_cache

import numpy as np

from gpusim.schedules.flashinfer_plan import Plan
from gpusim.schedules.launch import Launch, once
from gpusim.schedules.occupancy import slots_of
from gpusim.schedules.step import Part, Pipe, Step
from gpusim.schedules.work import flat_work
from gpusim.spec.attention import Attention
from gpusim.spec.compiled import Resources
from gpusim.spec.gpu import Gpu
from gpusim.units import ceil_div

#: Threads of a CTA, the elements of a row that each holds, and rounds whose loads are under way.
THREADS, VECTOR, STAGES = 128, 8, 4
#: No register count is published; a thread holds two vectors in fp32. Only occupancy depends on it.
REGISTERS = 48
#: Instructions of a warp to merge one partial result into another, and for all else of a row (find
#: it, address, finish); of a row with one part, which is copied; and clocks of a row's dependent
#: loads. Calibrated on aiconfigurator vLLM 0.24.0 rows, L40S: prompts of 256 to 2,048 tokens, whose
#: merge takes 3.2 ns a row at d=64, 2.1 ns at d=128, 1.9 ns at d=256.
MERGE_INSTRUCTIONS, ROW_INSTRUCTIONS, COPY_INSTRUCTIONS, ROW_CLOCKS = 44, 160, 100, 1200


def merge_launch(attention: Attention, gpu: Gpu, plan: Plan) -> Launch:
    """`PersistentVariableLengthMergeStatesKernel`: a row (query and head) at a time.

    The CTA's threads hold 1,024 elements: `lines` partial results of a row at once. They walk the
    parts in rounds of so many, and then merge the lines in shared memory.
    """
    dim = attention.value_dim
    vector = max(VECTOR, dim // 32)
    lines = max(1, THREADS // ceil_div(dim, vector))
    parts = np.array(plan.parts)
    row_bytes = 2.0 * dim + 4
    rows = np.array([s.count * s.q_len * attention.q_heads for s in attention.sequences])
    rounds = -(-parts // lines)
    work = flat_work(
        rows,
        steps=rounds,
        q_rows=1,
        loop_bytes=parts * row_bytes,
        store_bytes=float(dim * attention.output_bytes),
    )
    warps = THREADS // 32
    merging = ROW_INSTRUCTIONS + MERGE_INSTRUCTIONS * lines
    each = merging if parts.max() > 1 else COPY_INSTRUCTIONS
    resources = Resources(
        threads=THREADS, registers=REGISTERS, smem_bytes=STAGES * lines * dim * 2 + 4 * THREADS
    )
    return Launch(
        name="merge",
        **resources,
        step=_step(lines, dim),
        work=work,
        reads=(once("partial", work.total(work.tiles.loop_bytes)),),
        writes=(once("o", work.total(work.tiles.store_bytes)),),
        tile={"num_splits": int(parts.max())},
        workers=min(work.num_items, slots_of(gpu, **resources)),
        plain=True,
        item_clocks=ROW_CLOCKS,
        item_amounts={Pipe.ISSUE: float(warps * each)},
    )


@lru_cache(maxsize=1024)
def _step(lines: int, dim: int) -> Step:
    """A round: a partial result for each line."""
    instructions = float(THREADS // 32 * MERGE_INSTRUCTIONS)
    return Step(
        tracks=((Part("merge", {Pipe.ISSUE: instructions}),),),
        load_bytes=lines * (2.0 * dim + 4),
        stages=STAGES,
        syncs=0.5,
    )
