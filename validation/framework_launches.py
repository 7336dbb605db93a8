"""Launches of SGLang's and vLLM's attention kernels, by their own wrappers from installed packages.

Arguments are those of SGLang 0.5.14 and vLLM 0.24. Problems are shaped as measured calls are: pages
of one token in SGLang, of 64 in vLLM. Nothing is computed, so that tensors stay empty.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import product
from typing import Any

import torch

ARCHS = ("sm_89", "sm_90")
DTYPES = {"bf16": torch.bfloat16, "fp8": torch.float8_e4m3fn}
#: Sequences, queries of each in a prompt, pages in the cache, splits or segments of a decode.
BATCH, Q_LEN, PAGES, SPLITS, SEGMENTS = 4, 1024, 64, 8, 16
SGLANG_WINDOW, VLLM_WINDOW, VLLM_PAGE = 1024, 128, 64
SCALE = 0.1
SGLANG, VLLM = "sglang.srt.layers.attention.triton_ops", "vllm.v1.attention.ops"


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """A row of the table: a kernel and what it is compiled for."""

    kernel: str
    arch: str
    head_dim: int
    dtype: str
    kv_dtype: str
    window: bool

    @property
    def framework(self) -> str:
        """The package that has the kernel."""
        return self.kernel.split("_")[0]

    def launch(self) -> None:
        """Call the wrapper."""
        if self.framework == "vllm":
            _vllm(self)
        elif self.kernel == "sglang_extend":
            _sglang_extend(self)
        else:
            _sglang_decode(self)


def builds() -> Iterator[Build]:
    """All rows, in the table's order."""
    decodes = ("sglang_decode", "sglang_grouped_decode")
    both, sizes = ("bf16", "fp8"), (64, 128, 192, 256, 512)
    off_on = (False, True)
    for arch, d, kv, kernel in product(ARCHS, sizes, both, decodes):
        yield _build(kernel, arch, d, "bf16", kv)
    types = (("bf16", "bf16"), ("bf16", "fp8"), ("fp8", "fp8"))
    for arch, d, window, (dtype, kv) in product(ARCHS, sizes, off_on, types):
        yield _build("sglang_extend", arch, d, dtype, kv, window=window)
    unified = ("vllm_unified", "vllm_unified_3d")
    for arch, d, kv, window, kernel in product(ARCHS, sizes[:-1], both, off_on, unified):
        yield _build(kernel, arch, d, "bf16", kv, window=window)


def _build(
    kernel: str, arch: str, head_dim: int, dtype: str, kv_dtype: str, *, window: bool = False
) -> Build:
    return Build(
        kernel=kernel,
        arch=arch,
        head_dim=head_dim,
        dtype=dtype,
        kv_dtype=kv_dtype,
        window=window,
    )


def _sglang_extend(build: Build) -> None:
    module: Any = import_module(f"{SGLANG}.extend_attention")
    # The wrapper chooses its tiles by the capability that it read where it was imported.
    module._is_cuda = True
    module.CUDA_CAPABILITY = tuple(map(int, build.arch.removeprefix("sm_")))
    d, dtype, tokens = build.head_dim, DTYPES[build.dtype], BATCH * Q_LEN
    query, output = (
        torch.empty(tokens, 8, d, dtype=dtype),
        torch.empty(tokens, 8, d, dtype=torch.bfloat16),
    )
    new, cached = torch.empty(tokens, 1, d, dtype=dtype), _cache(build, kv_heads=1)
    module.extend_attention_fwd(
        query,
        new,
        torch.empty_like(new),
        output,
        cached,
        torch.empty_like(cached),
        qo_indptr=_ints(BATCH + 1),
        kv_indptr=_ints(BATCH + 1),
        kv_indices=_pages(),
        custom_mask=None,
        is_causal=True,
        mask_indptr=None,
        max_len_extend=Q_LEN,
        k_scale=1.0,
        v_scale=1.0,
        sm_scale=SCALE,
        sliding_window_size=SGLANG_WINDOW if build.window else -1,
    )


def _sglang_decode(build: Build) -> None:
    module: Any = import_module(f"{SGLANG}.decode_attention")
    grouped = build.kernel == "sglang_grouped_decode"
    heads, kv_heads = (8, 1) if grouped else (4, 4)
    name = "_decode_grouped_att_m_fwd" if grouped else "_decode_att_m_fwd"
    cached = _cache(build, kv_heads=kv_heads)
    getattr(module, name)(
        torch.empty(BATCH, heads, build.head_dim, dtype=DTYPES[build.dtype]),
        cached,
        torch.empty_like(cached),
        att_out=torch.empty(BATCH, heads, SPLITS, build.head_dim),
        att_lse=torch.empty(BATCH, heads, SPLITS),
        kv_indptr=_ints(BATCH + 1),
        kv_indices=_pages(),
        num_kv_splits=_ints(BATCH),
        max_kv_splits=SPLITS,
        sm_scale_withk=SCALE,
        logit_cap=0.0,
    )


def _vllm(build: Build) -> None:
    module: Any = import_module(f"{VLLM}.triton_unified_attention")
    modes: Any = import_module("vllm.v1.kv_cache_interface").KVQuantMode
    d, heads, scale = build.head_dim, 8, torch.empty(1)
    query = torch.empty(BATCH, heads, d, dtype=DTYPES[build.dtype])
    cached = torch.empty(16, VLLM_PAGE, 1, d, dtype=DTYPES[build.kv_dtype])
    padded = 1 << (d - 1).bit_length()
    segments: dict[str, Any] = {
        "seq_threshold_3D": 128,
        "num_par_softmax_segments": SEGMENTS,
        "softmax_segm_output": torch.empty(BATCH, heads, SEGMENTS, padded),
        "softmax_segm_max": torch.empty(BATCH, heads, SEGMENTS),
        "softmax_segm_expsum": torch.empty(BATCH, heads, SEGMENTS),
    }
    split = build.kernel.endswith("_3d")
    module.unified_attention(
        q=query,
        k=cached,
        v=torch.empty_like(cached),
        out=torch.empty_like(query),
        cu_seqlens_q=_ints(BATCH + 1),
        max_seqlen_q=1 if split else Q_LEN,
        seqused_k=_ints(BATCH),
        max_seqlen_k=Q_LEN,
        softmax_scale=SCALE,
        causal=True,
        window_size=(VLLM_WINDOW - 1, 0) if build.window else (-1, -1),
        block_table=torch.empty(BATCH, PAGES, dtype=torch.int32),
        softcap=0,
        q_descale=None,
        k_descale=scale,
        v_descale=scale,
        kv_quant_mode=modes.FP8_PER_TENSOR if build.kv_dtype == "fp8" else modes.NONE,
        **(segments if split else {}),
    )


def _cache(build: Build, *, kv_heads: int) -> torch.Tensor:
    """Keys or values of SGLang, a page each."""
    return torch.empty(PAGES, kv_heads, build.head_dim, dtype=DTYPES[build.kv_dtype])


def _ints(count: int) -> torch.Tensor:
    return torch.empty(count, dtype=torch.int32)


def _pages() -> torch.Tensor:
    """Page numbers of SGLang have 64 bits."""
    return torch.empty(PAGES, dtype=torch.int64)
