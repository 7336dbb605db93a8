"""SGLang's Triton attention backend: its launches, and what the compiler made of its kernels.

Facts from SGLang `python/sglang/srt/layers/attention/`: `triton_backend.py`,
`triton_ops/{decode,extend}_attention.py`, `triton_ops/metadata.py` (July 2026, 0.5.14).
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np

from gpusim.schedules import shipped_kernels as shipped
from gpusim.schedules.combine import Combine, combine_launch
from gpusim.schedules.custom import kernel_launch
from gpusim.schedules.idle_splits import with_idle, with_used_splits
from gpusim.schedules.launch import Launch
from gpusim.schedules.shipped_kernels import SGLANG_SPLITS
from gpusim.schedules.step import Step
from gpusim.schedules.work import Work
from gpusim.spec.attention import Attention
from gpusim.spec.framework_builds import FrameworkBuild, framework_build
from gpusim.spec.gpu import Gpu
from gpusim.spec.kernel import Kernel

#: Calibrated on aiconfigurator SGLang 0.5.14 rows, H100, d = 512: a step of a decode whose keys and
#: values come from HBM, token by token, takes 2.1 us longer than one that finds them in L2, in BF16
#: and FP8 alike. vLLM's rows on L40S show no such wait.
GATHER_MISS_NS = {"sm_90": 2000.0}
#: Keys of which every split takes a multiple.
MIN_BLOCK_KV = 32


def sglang_prefill(attention: Attention, gpu: Gpu) -> tuple[Launch, ...]:
    """`_fwd_kernel` of `extend_attention.py`: a CTA per query tile, sequence and query head.

    It walks the causal range from its first key on. With a sliding window, a tile outside of it is
    passed over once its mask is known: nothing is loaded or multiplied.
    """
    build = _build("sglang_extend", attention, gpu, window=attention.window is not None)
    kernel = _as_built(shipped.sglang_extend(attention, gpu), build)
    if build is None:
        return (kernel_launch("extend_attention", attention, gpu, kernel),)
    kernel = kernel.model_copy(update={"prunes_window": True})
    launch = kernel_launch("extend_attention", attention, gpu, kernel)
    step = _timed(launch.step, build, block_n=kernel.block_n, load_bytes=0.0)
    return (replace(launch, step=step),)


def sglang_decode(attention: Attention, gpu: Gpu) -> tuple[Launch, ...]:
    """`_decode_att_m_fwd` or, with groups, `_decode_grouped_att_m_fwd`; then always a second stage.

    A sliding window's keys are gathered first (`update_sliding_window_buffer`), so that a windowed
    problem is one of at most `window` keys. The second stage has a CTA per
    sequence and head, which walks the splits one after another. Prompts of one token are prompts.
    """
    if all(s.q_len == s.kv_len for s in attention.sequences):
        return sglang_prefill(attention, gpu)
    whole, attention = attention, _gathered(attention)
    grouped = attention.group_size > 1
    name = "sglang_grouped_decode" if grouped else "sglang_decode"
    build = _build(name, attention, gpu, window=False)
    kernel = _as_built(shipped.sglang_decode(attention, gpu), build)
    kernel = with_used_splits(kernel, attention, MIN_BLOCK_KV)
    forward = kernel_launch("decode_attention", attention, gpu, kernel)
    work, step = _placed(forward.work, whole, attention), forward.step
    if build is not None:
        step = _timed(
            step,
            build,
            block_n=kernel.block_n,
            load_bytes=step.load_bytes,
            miss_ns=GATHER_MISS_NS.get(gpu.architecture, 0.0),
        )
    work = with_idle(work, SGLANG_SPLITS - kernel.num_splits)
    forward = replace(forward, work=work, step=step)
    splits = (kernel.num_splits,) * len(attention.sequences)
    merge = Combine(block_m=1, threads=128)
    waits = 2 * gpu.l2.latency_clocks  # for the sequence's length and splits, then for a partial
    return forward, combine_launch(
        attention, merge, splits, single=True, plain=True, item_clocks=waits
    )


def _gathered(attention: Attention) -> Attention:
    """The problem that a windowed decode is, once its keys are gathered."""
    window = attention.window
    if window is None:
        return attention
    kept = tuple(
        s.model_copy(update={"kv_len": min(s.kv_len, window)}) for s in attention.sequences
    )
    return attention.model_copy(update={"window": None, "sequences": kept})


def _placed(work: Work, whole: Attention, gathered: Attention) -> Work:
    """The work with each row's keys where they stand in their sequence, not in the gather."""
    pairs = zip(whole.sequences, gathered.sequences, strict=True)
    shift = np.repeat([s.kv_len - kept.kv_len for s, kept in pairs], work.group_rows)
    tiles = work.tiles
    moved = replace(tiles, kv_start=tiles.kv_start + shift, kv_stop=tiles.kv_stop + shift)
    return replace(work, tiles=moved)


def _build(kernel: str, attention: Attention, gpu: Gpu, *, window: bool) -> FrameworkBuild | None:
    if attention.value_dim != attention.head_dim:
        return None
    return framework_build(
        kernel,
        gpu.architecture,
        head_dim=attention.head_dim,
        dtype=attention.dtype,
        kv_dtype=attention.cache_dtype,
        window=window,
    )


def _as_built(kernel: Kernel, build: FrameworkBuild | None) -> Kernel:
    """The kernel with the registers and the shared memory of its build, if there is one."""
    if build is None:
        return kernel
    used = {"registers": build.registers, "smem_bytes": build.smem_bytes}
    return kernel.model_copy(update=used)


@lru_cache(maxsize=1024)
def _timed(
    step: Step, build: FrameworkBuild, *, block_n: int, load_bytes: float, miss_ns: float = 0.0
) -> Step:
    """The step as the build's instructions take it: nothing is loaded ahead.

    `load_bytes` arrive while a CTA waits; the others while it stores what came before.
    """
    return replace(
        step,
        code=build.code,
        load_bytes=load_bytes + build.local_bytes,
        loads=build.loads,
        prefetch=False,
        stages=1,
        syncs=0,
        miss_ns=miss_ns,
        skip_clocks_per_key=build.skip_clocks / block_n,
    )
