"""Attention as frameworks ship it: schedule, tiles and the kernels around it, one row each.

Measured latencies name these. They take the same problems as the schedules they are made of, paged
as the framework pages its cache, and add its cache write and copies as launches.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from gpusim.schedules import triton_kernels as own
from gpusim.schedules import triton_options as launch
from gpusim.schedules.flash2 import flash2
from gpusim.schedules.flash3 import flash3, flash3_fp8, flash3_launches, quantised
from gpusim.schedules.flash3_plan import Flash3Build
from gpusim.schedules.flashinfer import flashinfer_attention
from gpusim.schedules.flashinfer_decode import flashinfer_cuda_core_decode
from gpusim.schedules.forward import forward_launch
from gpusim.schedules.framework import (
    attends_to_cache,
    output_copy,
    query_copy,
    reading,
    sglang_cache_write,
    sglang_conversions,
    sglang_kv_store,
    sglang_triton_store,
    vllm_0_14_cache_write,
    vllm_cache_write,
)
from gpusim.schedules.launch import Launch
from gpusim.schedules.sglang_triton import sglang_decode, sglang_prefill
from gpusim.schedules.split_kv import HEAD_DIMS, flash2_split_kv, split_tile
from gpusim.schedules.tile import padded_head_dim
from gpusim.schedules.tiling import Tiling
from gpusim.schedules.triton_santa_flash import santa_flash, santa_flash_options
from gpusim.schedules.triton_santa_prop import santa_prop, santa_prop_options
from gpusim.schedules.vllm_triton import vllm_decode, vllm_prefill
from gpusim.spec.attention import Attention
from gpusim.spec.gpu import Gpu

Attend = Callable[[Attention, Gpu], tuple[Launch, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Implementation:
    """One row.

    Attributes:
        prefill, decode: the attention launches, where some or no sequence brings several queries.
        page_size: of the cache, unless the problem names one.
        quantises: with an FP8 cache the queries are quantised too, and the FP8 kernel runs.
        cache_write: stores the new keys and values before attention.
        output_copies: copies of O after a GQA decode whose heads are packed by reshaping Q and O
            (`seqlenq_ngroups_swapped`), where its views are not contiguous; None: no copies at all.
        options: of the project's own kernels, the arguments that they are launched with.
        exact: whether the result is attention; a sampled one reads less than all of V.
        before: further kernels that the framework runs first.
        lead_us: of a call, before its first kernel.
    """

    prefill: Attend
    decode: Attend
    page_size: int | None = None
    quantises: bool = False
    cache_write: Callable[[Attention], Launch] | None = None
    output_copies: int | None = None
    options: Callable[[Attention, Gpu], Mapping[str, int]] | None = None
    exact: bool = True
    before: Callable[[Attention], tuple[Launch, ...]] = lambda _: ()
    lead_us: float = 0.0

    def problem(self, attention: Attention) -> Attention:
        """The problem as the framework's kernels take it."""
        fp8 = self.quantises and attention.cache_dtype == "fp8"
        return quantised(attention) if fp8 else attention

    def build(self, attention: Attention, gpu: Gpu) -> tuple[Launch, ...]:
        """All launches of one call, in order."""
        if self.page_size and attention.page_size is None:
            attention = attention.model_copy(update={"page_size": self.page_size})
        write = [self.cache_write(attention)] if self.cache_write else []
        attend = self.decode if attention.single_query else self.prefill
        copies_in, copies_out = self._copies(attention)
        first, *rest = [
            *self.before(attention),
            *write,
            *(query_copy(attention, i) for i in range(copies_in)),
            *attend(attention, gpu),
            *(output_copy(attention, i) for i in range(copies_out)),
        ]
        return replace(first, lead_us=self.lead_us), *rest

    def _copies(self, attention: Attention) -> tuple[int, int]:
        """Copies of Q and of O: one where heads are swapped for rows, more for strided views."""
        swapped = attention.single_query and attention.group_size > 1
        if self.output_copies is None or not swapped or attention.window is not None:
            return 0, 0
        strided = attention.batch > 1 and attention.kv_heads > 1
        return (2, self.output_copies) if strided else (1, 0)


def _scheduled(
    build: Callable[[Attention, Gpu, Tiling], tuple[Launch, ...]], **options: int
) -> Attend:
    return lambda attention, gpu: build(attention, gpu, Tiling(**options))


def _varlen_split_kv(attention: Attention, gpu: Gpu) -> tuple[Launch, ...]:
    """FlashAttention-2's paged variable-length call: only packed heads are ever split.

    It asks for a window before it drops one that hides nothing, so that any window keeps heads
    apart (`mha_varlen_fwd`; measured on L40S: calls with one are 2 to 8 times slower).
    """
    if attention.group_size > 1 and attention.window is None:
        return flash2_split_kv(attention, gpu, Tiling())
    tile = split_tile(padded_head_dim(attention, HEAD_DIMS))
    return (forward_launch(attention, tile, name="flash_fwd_splitkv", packed=1),)


def _vllm_flashinfer_decode(attention: Attention, gpu: Gpu) -> tuple[Launch, ...]:
    """vLLM asks for tensor cores in decode too, planned for a captured graph if one is that wide.

    Up to `max_cudagraph_capture_size` sequences (vLLM `v1/attention/backends/flashinfer.py`).
    """
    captured = attention.batch <= VLLM_CAPTURED
    return flashinfer_attention(attention, gpu, name="batch_decode", captured=captured)


def _vllm_flashinfer_prefill(attention: Attention, gpu: Gpu) -> tuple[Launch, ...]:
    return flashinfer_attention(attention, gpu, name="batch_prefill")


def _sglang_flashinfer_prefill(attention: Attention, gpu: Gpu) -> tuple[Launch, ...]:
    """Prompts without a prefix attend to their own K and V, in 16 bit, and to all before them.

    The cache is written afterwards. What it holds is read only where there is more of it, and only
    then is the window asked for (SGLang `flashinfer_backend.py`).
    """
    store = sglang_kv_store(attention)
    if any(s.q_len < s.kv_len for s in attention.sequences):
        return *store, *flashinfer_attention(attention, gpu, name="batch_prefill")
    own = attention.model_copy(update={"kv_dtype": None, "window": None, "page_size": None})
    forward, *merge = flashinfer_attention(own, gpu, name="batch_prefill")
    return reading(forward, "kv", "new_kv"), *merge, *store


def _sglang_flashinfer_decode(attention: Attention, gpu: Gpu) -> tuple[Launch, ...]:
    """Tensor cores with an FP8 cache or groups of four heads, else CUDA cores.

    `should_use_tensor_core`; the page table lists the keys in the window alone. Prompts of one
    token are prompts.
    """
    if all(s.kv_len == 1 for s in attention.sequences):
        return _sglang_flashinfer_prefill(attention, gpu)
    store = sglang_kv_store(attention)
    if attention.cache_dtype == "fp8" or attention.group_size >= 4:
        decode = flashinfer_attention(attention, gpu, name="batch_decode", indexed=True)
    else:
        decode = flashinfer_cuda_core_decode(attention, gpu)
    return *store, *decode


def _flash3(attention: Attention, gpu: Gpu) -> tuple[Launch, ...]:
    """FlashAttention-3, in FP8 if the problem is."""
    build = flash3_fp8 if attention.dtype == "fp8" else flash3
    return build(attention, gpu, Tiling())


#: vLLM plans a call before it (`get_scheduler_metadata`) and allows 32 splits where it may capture
#: it in a full CUDA graph (`flash_attn_max_num_splits_for_cuda_graph`): up to 512 tokens, and up to
#: two for each sequence that it is set up for.
VLLM_FLASH3 = Flash3Build(fork=True, scheduled=True, graph_splits=(32, 512))


def _vllm_flash3(attention: Attention, gpu: Gpu) -> tuple[Launch, ...]:
    """vLLM's fork of FlashAttention-3."""
    return flash3_launches(attention, gpu, Tiling(), VLLM_FLASH3)


def _planned_ahead(attention: Attention, gpu: Gpu) -> tuple[Launch, ...]:
    """SGLang plans decode before the call, unless it has a window (`flashattention_backend.py`)."""
    ahead = attends_to_cache(attention) and attention.window is None
    return flash3_launches(attention, gpu, Tiling(), Flash3Build(scheduled=ahead))


def _sglang_flash3(attend: Attend, *, lead_us: float) -> Implementation:
    """SGLang's FlashAttention-3: versions differ in who plans decode."""
    return Implementation(
        prefill=attend,
        decode=attend,
        lead_us=lead_us,
        before=sglang_conversions,
        page_size=1,
        quantises=True,
        cache_write=sglang_cache_write,
    )


def _vllm_flash2(
    cache_write: Callable[[Attention], Launch], *, output_copies: int, lead_us: float
) -> Implementation:
    """vLLM's FlashAttention-2: versions differ in the cache write, and in copies of O."""
    return Implementation(
        prefill=_scheduled(flash2),
        decode=_varlen_split_kv,
        page_size=16,
        cache_write=cache_write,
        lead_us=lead_us,
        output_copies=output_copies,
    )


def _own(
    build: Attend, options: Callable[[Attention, Gpu], Mapping[str, int]], *, exact: bool = True
) -> Implementation:
    return Implementation(prefill=build, decode=build, options=options, exact=exact)


#: Of a call beside its kernels and the gaps between them, in us: what the shortest calls of each
#: framework version take longer than their kernels. Calibrated on aiconfigurator rows of SGLang
#: 0.5.10 (A100) and 0.5.14 (H100), vLLM 0.14.0 (A100) and 0.24.0 (L40S; H100 with
#: FlashAttention-3), SGLang with FlashInfer (L40S). SGLang's Triton calls have none.
SGLANG_0_5_10_US, SGLANG_US = 1.3, 2.7
VLLM_0_14_US, VLLM_US, VLLM_FA3_US = 2.7, 2.25, 5.1
SGLANG_FLASHINFER_US = 0.6

#: The widest decode batch that vLLM captures in a graph by default.
VLLM_CAPTURED = 512

IMPLEMENTATIONS = {
    "flash_attn_2": Implementation(
        prefill=_scheduled(flash2),
        decode=_scheduled(flash2_split_kv),
    ),
    "vllm_flash_attn_2": _vllm_flash2(vllm_cache_write, output_copies=2, lead_us=VLLM_US),
    "vllm_0_14_flash_attn_2": _vllm_flash2(
        vllm_0_14_cache_write, output_copies=3, lead_us=VLLM_0_14_US
    ),
    "flash_attn_3": Implementation(prefill=_flash3, decode=_flash3, quantises=True),
    "sglang_flash_attn_3": _sglang_flash3(_planned_ahead, lead_us=SGLANG_US),
    "sglang_0_5_10_flash_attn_3": _sglang_flash3(_flash3, lead_us=SGLANG_0_5_10_US),
    "vllm_flash_attn_3": Implementation(
        prefill=_vllm_flash3,
        decode=_vllm_flash3,
        page_size=16,
        quantises=True,
        cache_write=vllm_cache_write,
        lead_us=VLLM_FA3_US,
    ),
    "sglang_triton": Implementation(
        before=sglang_triton_store,
        prefill=sglang_prefill,
        decode=sglang_decode,
        page_size=1,
    ),
    "vllm_triton": Implementation(
        lead_us=VLLM_US,
        prefill=vllm_prefill,
        decode=vllm_decode,
        page_size=16,
        cache_write=vllm_cache_write,
    ),
    "flashinfer": Implementation(
        lead_us=VLLM_US,
        prefill=_vllm_flashinfer_prefill,
        decode=_vllm_flashinfer_decode,
        page_size=16,
        cache_write=vllm_cache_write,
    ),
    "sglang_flashinfer": Implementation(
        prefill=_sglang_flashinfer_prefill,
        decode=_sglang_flashinfer_decode,
        page_size=1,
        lead_us=SGLANG_FLASHINFER_US,
    ),
    "gpusim_triton_flash1": _own(own.flash1, launch.flash1_options),
    "gpusim_triton_flash2": _own(own.flash2, launch.flash2_options),
    "gpusim_triton_flash2_split_kv": _own(own.split_kv, launch.split_kv_options),
    "gpusim_triton_flash3": _own(own.flash3, launch.flash3_options),
    "gpusim_triton_lean": _own(own.lean, launch.lean_options),
    "gpusim_triton_santa_flash": _own(santa_flash, santa_flash_options, exact=False),
    "gpusim_triton_santa_prop": _own(santa_prop, santa_prop_options, exact=False),
}
