"""FlashInfer's decode on CUDA cores (`decode.cuh`), which SGLang runs for groups below four."""

from functools import lru_cache
from math import log2

from gpusim.schedules.flashinfer import BANK_CONFLICTS, planned_operands, planned_work
from gpusim.schedules.flashinfer_merge import merge_launch
from gpusim.schedules.flashinfer_plan import decode_plan
from gpusim.schedules.launch import Launch
from gpusim.schedules.occupancy import slots_of
from gpusim.schedules.step import Part, Pipe, Step
from gpusim.spec.attention import BYTES, Attention
from gpusim.spec.gpu import Gpu

#: Loads of K and V tiles under way at once on Ampere and later.
STAGES = 2
#: Registers a thread, as public profiles of the kernel show.
REGISTERS = 56


def flashinfer_cuda_core_decode(attention: Attention, gpu: Gpu) -> tuple[Launch, ...]:
    """`BatchDecodeWithPagedKVCacheKernel`: threads (lanes of a row, heads of the group, keys).

    A lane holds 16 bytes of a row; each head has its own lanes, which read all keys of the step
    from shared memory and convert them to fp32 by themselves. In the end the CTA merges the states
    of the threads that saw different keys.
    """
    d, group, width = attention.head_dim, attention.group_size, BYTES[attention.cache_dtype]
    lanes = d // max(16 // width, d // 32)
    depth = max(1, 128 // (lanes * group))
    each = (4 if width == 2 else 2) if group == 1 else 1
    keys, threads = each * group * depth, lanes * group * depth
    smem = 2 * STAGES * keys * d * width + max(8 * each * threads, 8 * group * depth)
    slots = slots_of(gpu, threads=threads, registers=REGISTERS, smem_bytes=smem)
    plan = decode_plan(attention, slots)
    work = planned_work(attention, plan, block_n=keys)
    reads, writes = planned_operands(attention, work, plan)
    merged = 4.0 * depth * group * d
    launch = Launch(
        name="batch_decode",
        threads=threads,
        registers=REGISTERS,
        smem_bytes=smem,
        step=_step((d, attention.value_dim, width), group, keys=keys, lanes=lanes),
        work=work,
        reads=reads,
        writes=writes,
        tile={"block_n": keys, "num_splits": max(plan.parts)},
        item_amounts={Pipe.SMEM: BANK_CONFLICTS * merged * (1 + depth)} if depth > 1 else {},
    )
    return (launch,) if plan.chunk is None else (launch, merge_launch(attention, gpu, plan))


@lru_cache(maxsize=1024)
def _step(shape: tuple[int, int, int], group: int, *, keys: int, lanes: int) -> Step:
    """Each head multiplies, adds and converts every element: two results an element of K and V."""
    scores = float(keys * group)
    d, dv, width = shape  # elements of a key and a value, bytes of an element
    return Step(
        tracks=(
            (
                Part("qk", {Pipe.FP32: 2 * scores * d, Pipe.SMEM: scores * d * width}),
                Part("sum", {Pipe.SHUFFLE: scores * lanes * log2(lanes)}),
                Part("exp2", {Pipe.EXP2: scores * lanes}),
                Part("pv", {Pipe.FP32: 2 * scores * dv, Pipe.SMEM: scores * dv * width}),
            ),
        ),
        load_bytes=float(keys * (d + dv) * width),
        loads=2,
        stages=STAGES,
        syncs=0.5,
    )
