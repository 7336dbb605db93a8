"""Tiles of the Triton and FlashInfer kernels, written down as any user would describe a kernel."""

import math

from gpusim.spec.attention import Attention
from gpusim.spec.gpu import Gpu
from gpusim.spec.kernel import Kernel
from gpusim.units import ceil_div, round_up

#: SGLang's `triton_attention_num_kv_splits`, vLLM's segments of a 3D launch.
SGLANG_SPLITS, VLLM_SEGMENTS = 8, 16


def sglang_extend(attention: Attention, gpu: Gpu) -> Kernel:
    """SGLang's Triton prefill (`extend_attention.py`): loads not pipelined, no packing."""
    d = attention.head_dim
    ada, hopper = gpu.architecture in ("sm_86", "sm_89"), gpu.architecture == "sm_90"
    if d <= 128:
        block_m, block_n = (64, 128) if ada else (128, 64) if hopper else (128, 128)
    else:
        block_m, block_n = (64, 64) if d <= 256 else (32, 32 if ada else 64)
    warps = min(block_m // 16, 4 if d <= 64 else 8)
    return Kernel(block_m=block_m, block_n=block_n, num_warps=warps)


def sglang_decode(attention: Attention, gpu: Gpu) -> Kernel:
    """SGLang's grouped Triton decode (`decode_attention.py`): 16 heads by 32 keys, split KV.

    The split count follows `metadata.py`: as many as the SMs, scaled by the log of the context,
    have room for, at most 8.
    """
    longest = max(s.kv_len for s in attention.sequences)
    groups = ceil_div(attention.q_heads, min(16, attention.group_size))
    cores = int(gpu.sm.count * max(math.log2(longest / 64), 1.0))
    splits = min(ceil_div(cores, attention.batch * groups), SGLANG_SPLITS)
    return Kernel(
        block_m=16,
        block_n=32 if attention.group_size > 1 else 64,
        num_warps=4,
        stages=2,
        pack_gqa=True,
        num_splits=max(1, min(splits, ceil_div(longest, 32))),
    )


def vllm_unified(attention: Attention, gpu: Gpu) -> Kernel:  # noqa: ARG001
    """vLLM's unified Triton kernel, 2D (`triton_unified_attention.py`): packed heads, 3 stages."""
    return Kernel(
        block_m=max(16, round_up(attention.group_size, 16)),
        block_n=32,
        num_warps=4,
        stages=3,
        pack_gqa=True,
    )


def vllm_unified_decode(attention: Attention, gpu: Gpu) -> Kernel:
    """The same in 3D: 16 segments of the KV range, while sequences x KV heads are at most 128."""
    if attention.batch * attention.kv_heads > 128:
        return vllm_unified(attention, gpu)
    wide = attention.cache_dtype == "fp8"
    return vllm_unified(attention, gpu).model_copy(
        update={"block_n": 32 if wide else 16, "num_splits": VLLM_SEGMENTS}
    )


def flashinfer_prefill(attention: Attention, gpu: Gpu) -> Kernel:
    """FlashInfer's FA2 kernel (`scheduler.cuh`, `prefill.cuh`): query tile by packed length."""
    tokens = sum(s.count * s.q_len for s in attention.sequences)
    packed = tokens / attention.batch * attention.group_size
    d = attention.head_dim
    block_m = 128 if packed > 64 and d < 256 else 64 if packed > 16 else 16
    ada = gpu.architecture in ("sm_86", "sm_89")
    block_n = {
        16: 256 if d <= 64 else 64 if d > 128 else 128,
        64: 128 if d <= 128 else 32,
        128: 64,
    }[block_m]
    if ada:
        block_n = {16: 128 if d <= 64 else 64, 64: 128 if d <= 64 else 64, 128: 64}[block_m]
        block_n = 32 if block_m == 128 and d > 64 else 16 if block_m == 64 and d > 128 else block_n
    return Kernel(block_m=block_m, block_n=block_n, num_warps=4, pack_gqa=True)


def flashinfer_decode(attention: Attention, gpu: Gpu) -> Kernel:
    """The same tiles for decode, KV cut so that the grid fills the GPU twice over."""
    kernel = flashinfer_prefill(attention, gpu)
    longest = max(s.kv_len for s in attention.sequences)
    room = 2 * gpu.sm.count // (attention.batch * attention.kv_heads)
    return kernel.model_copy(update={"num_splits": max(1, min(room, ceil_div(longest, 128), 256))})
