"""vLLM's Triton attention backend: the unified kernel in 2D or 3D, and the reduction over segments.

Facts from vLLM `v1/attention/ops/triton_unified_attention.py` (2026, 0.24).
"""

from dataclasses import replace
from functools import lru_cache

from gpusim.schedules import shipped_kernels as shipped
from gpusim.schedules.combine import Combine, combine_launch
from gpusim.schedules.custom import kernel_launch
from gpusim.schedules.idle_splits import with_idle, with_used_splits
from gpusim.schedules.launch import Launch
from gpusim.schedules.step import Step
from gpusim.spec.attention import Attention
from gpusim.spec.framework_builds import Code, framework_build
from gpusim.spec.gpu import Gpu

#: Query heads of a KV head that fit the 16 rows of the tiles that were built.
LARGEST_GROUP = 16


def vllm_prefill(attention: Attention, gpu: Gpu) -> tuple[Launch, ...]:
    """`kernel_unified_attention` in 2D."""
    kernel = shipped.vllm_unified(attention, gpu)
    launch = kernel_launch("unified_attention_2d", attention, gpu, kernel)
    return (_as_built(launch, "vllm_unified", attention, gpu),)


def vllm_decode(attention: Attention, gpu: Gpu) -> tuple[Launch, ...]:
    """The same in 3D, then `reduce_segments`; in 2D where the grid is large enough.

    A segment takes whole tiles; those beyond the sequence's own end at once. The reduction has a
    CTA per token and head, and reads all segments at once: it waits for the sequence's length, for
    the segments' maxima, and for their results.
    """
    kernel = shipped.vllm_unified_decode(attention, gpu)
    if kernel.num_splits == 1:
        return vllm_prefill(attention, gpu)
    most = kernel.num_splits
    kernel = with_used_splits(kernel, attention, kernel.block_n)
    forward = kernel_launch("unified_attention_3d", attention, gpu, kernel)
    forward = _as_built(forward, "vllm_unified_3d", attention, gpu)
    forward = replace(forward, work=with_idle(forward.work, most - kernel.num_splits))
    splits = (kernel.num_splits,) * len(attention.sequences)
    reduce = Combine(block_m=1, threads=128, stages=most)
    waits = 2 * gpu.l2.latency_clocks
    return forward, combine_launch(
        attention, reduce, splits, single=True, plain=True, item_clocks=waits
    )


def _as_built(launch: Launch, compiled: str, attention: Attention, gpu: Gpu) -> Launch:
    """The launch with the instruction chain of its build, if there is one. Loads run ahead.

    Its shared memory stays the tile's, and the pipes limit what several CTAs do together: Triton
    3.6 buffers the FP8 tiles of some head sizes so that one CTA fits on an SM of L40S, where
    measured batches run as fast as two.
    """
    build = framework_build(
        compiled,
        gpu.architecture,
        head_dim=attention.head_dim,
        dtype=attention.dtype,
        kv_dtype=attention.cache_dtype,
        window=attention.window is not None,
    )
    if build is None or attention.group_size > LARGEST_GROUP:
        return launch
    return replace(launch, step=_coded(launch.step, build.code))


@lru_cache(maxsize=1024)
def _coded(step: Step, code: Code) -> Step:
    return replace(step, code=replace(code, busy_clocks=0.0), syncs=0)
