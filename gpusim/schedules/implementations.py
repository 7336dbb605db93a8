"""Attention as frameworks ship it: schedule, tiles and the kernels around it, one row each.

Measured latencies name these. They take the same problems as the schedules they are made of, paged
as the framework pages its cache, and add its cache write and copies as launches.
"""

from collections.abc import Callable
from dataclasses import dataclass

from gpusim.schedules import shipped_kernels as kernels
from gpusim.schedules.custom import custom
from gpusim.schedules.flash2 import flash2
from gpusim.schedules.flash3 import flash3, flash3_fp8, quantised
from gpusim.schedules.framework import query_copy, sglang_cache_write, vllm_cache_write
from gpusim.schedules.launch import Launch
from gpusim.schedules.split_kv import flash2_split_kv
from gpusim.schedules.tiling import Tiling
from gpusim.spec.attention import Attention
from gpusim.spec.gpu import Gpu
from gpusim.spec.kernel import Kernel

Attend = Callable[[Attention, Gpu], tuple[Launch, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Implementation:
    """One row.

    Attributes:
        prefill, decode: the attention launches, where some or no sequence brings several queries.
        page_size: of the cache, unless the problem names one.
        cache_write: stores the new keys and values before attention.
        swap_copies: copies beyond the first around a GQA decode whose heads are packed by reshaping
            Q and O (`seqlenq_ngroups_swapped`); None: packing copies nothing.
    """

    prefill: Attend
    decode: Attend
    page_size: int | None = None
    cache_write: Callable[[Attention], Launch] | None = None
    swap_copies: int | None = None

    def build(self, attention: Attention, gpu: Gpu) -> tuple[Launch, ...]:
        """All launches of one call, in order."""
        if self.page_size and attention.page_size is None:
            attention = attention.model_copy(update={"page_size": self.page_size})
        before = (self.cache_write(attention),) if self.cache_write else ()
        attend = self.decode if attention.single_query else self.prefill
        return (*before, *self._copies(attention), *attend(attention, gpu))

    def _copies(self, attention: Attention) -> tuple[Launch, ...]:
        """One copy where query heads are swapped for rows; more where views are not contiguous."""
        swapped = attention.single_query and attention.group_size > 1
        if self.swap_copies is None or not swapped or attention.effective_window is not None:
            return ()
        strided = attention.batch > 1 and attention.kv_heads > 1
        count = 1 + (self.swap_copies if strided else 0)
        return tuple(query_copy(attention, f"swap_copy_{i}") for i in range(count))


def _scheduled(
    build: Callable[[Attention, Gpu, Tiling], tuple[Launch, ...]], **options: int
) -> Attend:
    return lambda attention, gpu: build(attention, gpu, Tiling(**options))


def _kernel(name: str, describe: Callable[[Attention, Gpu], Kernel]) -> Attend:
    return lambda attention, gpu: custom(name, attention, gpu, describe(attention, gpu))


def _varlen_split_kv(attention: Attention, gpu: Gpu) -> tuple[Launch, ...]:
    """FlashAttention-2's paged variable-length call: only packed heads are ever split."""
    packs = attention.group_size > 1 and attention.effective_window is None
    tiling = Tiling() if packs else Tiling(num_splits=1)
    return flash2_split_kv(attention, gpu, tiling)


def _flash3(attention: Attention, gpu: Gpu) -> tuple[Launch, ...]:
    """FlashAttention-3; with an FP8 cache the queries are quantised too and the FP8 kernel runs."""
    if attention.cache_dtype == "fp8":
        return flash3_fp8(quantised(attention), gpu, Tiling())
    return flash3(attention, gpu, Tiling())


IMPLEMENTATIONS = {
    "flash_attn_2": Implementation(
        prefill=_scheduled(flash2),
        decode=_scheduled(flash2_split_kv),
    ),
    "vllm_flash_attn_2": Implementation(
        prefill=_scheduled(flash2),
        decode=_varlen_split_kv,
        page_size=16,
        cache_write=vllm_cache_write,
        swap_copies=3,
    ),
    "flash_attn_3": Implementation(prefill=_flash3, decode=_flash3),
    "sglang_flash_attn_3": Implementation(
        prefill=_flash3, decode=_flash3, page_size=1, cache_write=sglang_cache_write
    ),
    "vllm_flash_attn_3": Implementation(
        prefill=_flash3, decode=_flash3, page_size=16, cache_write=vllm_cache_write
    ),
    "sglang_triton": Implementation(
        prefill=_kernel("extend_attention", kernels.sglang_extend),
        decode=_kernel("decode_attention", kernels.sglang_decode),
        page_size=1,
        cache_write=sglang_cache_write,
    ),
    "vllm_triton": Implementation(
        prefill=_kernel("unified_attention_2d", kernels.vllm_unified),
        decode=_kernel("unified_attention_3d", kernels.vllm_unified_decode),
        page_size=16,
        cache_write=vllm_cache_write,
    ),
    "flashinfer": Implementation(
        prefill=_kernel("batch_prefill", kernels.flashinfer_prefill),
        decode=_kernel("batch_decode", kernels.flashinfer_decode),
        page_size=16,
        cache_write=vllm_cache_write,
    ),
}
