"""Tiles of the Triton kernels, written down as any user would describe a kernel.

Triton pads head sizes to powers of two. Their reductions over splits are modelled by
FlashAttention-2's combine kernel.
"""

import math

from gpusim.spec.attention import BYTES, Attention
from gpusim.spec.gpu import Gpu
from gpusim.spec.kernel import Kernel, KernelPart
from gpusim.units import KIB, ceil_div, power_of_two

#: SGLang's `triton_attention_num_kv_splits`, vLLM's segments of a 3D launch and their limit.
SGLANG_SPLITS, VLLM_SEGMENTS, VLLM_3D_LIMIT = 8, 16, 128

#: SGLang's extend tiles: architecture, then (largest head size, block_m, block_n) in order.
EXTEND_TILES = {
    "sm_80": ((128, 128, 128), (256, 64, 64), (512, 32, 64)),
    "sm_86": ((128, 64, 128), (256, 64, 64), (512, 32, 32)),
    "sm_89": ((128, 64, 128), (256, 64, 64), (512, 32, 32)),
    "sm_90": ((128, 128, 64), (256, 64, 64), (512, 32, 64)),
}

#: Scratch beside the K and V buffers in Triton 3.9 builds of decode kernels.
TRITON_SCRATCH_BYTES = 6 * KIB


def _triton_smem(attention: Attention, block_n: int, *, stages: int) -> int:
    """Shared memory of a Triton kernel: one buffer of K and V less than it has stages, and scratch.

    So do builds of such kernels by Triton 3.6 and 3.9; the query tile stays in registers.
    """
    dims = sum(power_of_two(d) for d in (attention.head_dim, attention.value_dim))
    buffers = max(1, stages - 1) * block_n * dims * BYTES[attention.cache_dtype]
    return buffers + TRITON_SCRATCH_BYTES


def sglang_extend(attention: Attention, gpu: Gpu) -> Kernel:
    """SGLang's Triton prefill (`extend_attention.py`): one stage, so that loads are exposed; heads
    are not packed; tiles out of a sliding window are visited all the same."""
    d = attention.head_dim
    tiles = EXTEND_TILES[gpu.architecture]
    block_m, block_n = next((m, n) for limit, m, n in tiles if d <= limit)
    return Kernel(
        block_m=block_m,
        block_n=block_n,
        num_warps=4 if d <= 64 else 8,
        smem_bytes=_triton_smem(attention, block_n, stages=1),
        prefetch=False,
        prunes_window=False,
        power_of_two=True,
    )


#: SGLang's decode without groups multiplies and adds on CUDA cores, one query row.
MULTIPLY_ADD = (
    (
        KernelPart(name="qk", fp32="N*D"),
        KernelPart(name="exp2", exp2="N"),
        KernelPart(name="pv", fp32="N*DV"),
    ),
)


def sglang_decode(attention: Attention, gpu: Gpu) -> Kernel:
    """SGLang's Triton decode (`decode_attention.py`): 16 heads of a group by 32 keys, split KV.

    The split count follows `metadata.py`: as many as the SMs, scaled by the log of the context,
    have room for, at most 8; here one count for all sequences, from the longest.
    """
    longest = max(s.kv_len for s in attention.sequences)
    grouped = attention.group_size > 1
    blocks = ceil_div(attention.q_heads, min(16, attention.group_size))
    cores = int(gpu.sm.count * max(math.log2(longest / 64), 1.0))
    splits = min(ceil_div(cores, attention.batch * blocks), SGLANG_SPLITS)
    block_n = 32 if grouped else 64
    return Kernel(
        block_m=16,
        block_n=block_n,
        num_warps=4,
        stages=2,
        smem_bytes=_triton_smem(attention, block_n, stages=2),
        pack_gqa=True,
        num_splits=max(1, min(splits, ceil_div(longest, 32))),
        power_of_two=True,
        tracks=None if grouped else MULTIPLY_ADD,
    )


def vllm_unified(attention: Attention, gpu: Gpu) -> Kernel:  # noqa: ARG001
    """vLLM's unified Triton kernel, 2D (`triton_unified_attention.py`): packed heads, 3 stages."""
    return Kernel(
        block_m=max(16, power_of_two(attention.group_size)),
        block_n=32,
        num_warps=4,
        stages=3,
        smem_bytes=_triton_smem(attention, 32, stages=3),
        pack_gqa=True,
        power_of_two=True,
    )


def vllm_unified_decode(attention: Attention, gpu: Gpu) -> Kernel:
    """The same in 3D: 16 segments of the KV range, while sequences x KV heads are at most 128."""
    if attention.batch * attention.kv_heads > VLLM_3D_LIMIT:
        return vllm_unified(attention, gpu)
    block_n = 32 if attention.cache_dtype == "fp8" else 16
    return vllm_unified(attention, gpu).model_copy(
        update={
            "block_n": block_n,
            "smem_bytes": _triton_smem(attention, block_n, stages=3),
            "num_splits": VLLM_SEGMENTS,
        }
    )
