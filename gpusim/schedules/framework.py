"""Kernels that serving frameworks launch around attention: the KV-cache write, and copies."""

from dataclasses import replace
from typing import Any

from gpusim.schedules.elementwise import COPY_THREADS, LANE_BYTES, copy, plain_copy
from gpusim.schedules.launch import Launch
from gpusim.spec.attention import BYTES, Attention
from gpusim.units import ceil_div

#: Bytes of an element that comes from the layer before.
NEW_BYTES = 2
#: Rounds of a copy loop whose loads are under way at once: on H100 a warp moves a KB of each of K
#: and V in 0.1 us, which takes about eight.
UNROLLED = 8
WARP = 32
#: Calibrated on aiconfigurator vLLM 0.14.0 rows, A100 (prompts with one to eight KV heads): what a
#: warp of its cache write issues beside the copy, mostly divisions to find an element's place.
ADDRESS_INSTRUCTIONS = 350
#: Elements that a CTA of an indexed assignment moves, and what a thread issues for each: calibrated
#: on aiconfigurator SGLang 0.5.14 rows, H100 (windowed prompts at d = 192: 1 ns a token and head).
INDEXED_ELEMENTS, INDEX_INSTRUCTIONS = 512, 95


def vllm_cache_write(attention: Attention) -> Launch:
    """`reshape_and_cache_flash`: a CTA per new token, up to 512 threads over its KV heads.

    Each waits for the token's slot, then for its key and value, then stores them: three loads in a
    row, so that few KV heads leave the memory system idle. Keys and values arrive in 16 bit, also
    where the queries are quantised. Source: vLLM `csrc/cache_kernels.cu`.
    """
    return _vllm_cache_write(attention, warp_instructions=0)


def vllm_0_14_cache_write(attention: Attention) -> Launch:
    """The same before it moved 16 bytes at once: elements one by one, with 64-bit divisions."""
    return _vllm_cache_write(attention, warp_instructions=ADDRESS_INSTRUCTIONS)


def _vllm_cache_write(attention: Attention, *, warp_instructions: int) -> Launch:
    threads = min(attention.kv_heads * attention.head_dim, 512)
    return _cache_write(
        attention,
        tokens_per_cta=1,
        new_bytes=NEW_BYTES,
        threads=threads,
        loads=3,
        instructions=warp_instructions * ceil_div(threads, WARP),
    )


def sglang_cache_write(attention: Attention) -> Launch:
    """`store_cache`: a warp per new token walks its rows, four a CTA (SGLang `sgl-kernel`).

    Where keys and values differ in size, PyTorch's indexed assignment runs in its place.
    """
    new_bytes = attention.element_bytes
    if attention.head_dim != attention.value_dim:
        return _indexed_write(attention, new_bytes)
    return _cache_write(
        attention,
        tokens_per_cta=4,
        new_bytes=new_bytes,
        threads=COPY_THREADS,
        loads=1,
        stages=UNROLLED,
    )


def _indexed_write(attention: Attention, new_bytes: int) -> Launch:
    """`k_buffer[slots] = k`, and so for V: a thread finds the places of four elements one by one.

    Two kernels; their elements count as one kernel's. Source: PyTorch `IndexKernel.cu`.
    """
    elements = attention.kv_heads * (attention.head_dim + attention.value_dim) * _tokens(attention)
    size = min(elements, INDEXED_ELEMENTS)
    return _kv_copy(
        attention,
        ceil_div(elements, size),
        (size * new_bytes, size * BYTES[attention.cache_dtype]),
        threads=COPY_THREADS,
        loads=2,
        instructions=INDEX_INSTRUCTIONS * size / WARP,
    )


def _cache_write(
    attention: Attention, *, tokens_per_cta: int, new_bytes: int, **copying: Any
) -> Launch:
    """New keys and values arrive in so many bytes an element and leave in the cache's type.

    If they are all there is (prompts), attention finds in L2 what this launch wrote. A CTA only
    copies: with the start of an attention CTA, prompts on L40S came out a fifth too slow.
    """
    elements = attention.kv_heads * (attention.head_dim + attention.value_dim) * tokens_per_cta
    return _kv_copy(
        attention,
        ceil_div(_tokens(attention), tokens_per_cta),
        (elements * new_bytes, elements * BYTES[attention.cache_dtype]),
        **copying,
    )


def _kv_copy(attention: Attention, items: int, sizes: tuple[int, int], **copying: Any) -> Launch:
    """A copy into the cache; `copying` is how, see `copy`."""
    prompts = all(s.q_len == s.kv_len for s in attention.sequences)
    names = ("new_kv", "kv" if prompts else "cache")
    return copy("cache_write", items, sizes, names=names, **copying)


def sglang_conversions(attention: Attention) -> tuple[Launch, ...]:
    """What SGLang's FlashAttention-3 backend runs first, as small kernels.

    With an FP8 cache and one query a sequence, K, V and Q are each cast to it (`set_kv_buffer` of
    `memory_pool.py`, `flashattention_backend.py`); prompts arrive cast.
    """
    fp8 = attention.cache_dtype == "fp8"
    casts = _casts(attention) if fp8 and attends_to_cache(attention) else ()
    return *casts, *_prepare_192(attention)


def _prepare_192(attention: Attention) -> tuple[Launch, ...]:
    """With head size 192, five kernels of a few bytes, whatever the problem.

    Inferred from measured calls on H100, which take 6 to 8 us longer; which they are is not known.
    """
    return _small_kernels("prepare_192", 5 if attention.head_dim == 192 else 0)


def attends_to_cache(attention: Attention) -> bool:
    """Whether this is decode to the framework: one query a sequence, and keys from before."""
    return attention.single_query and all(s.kv_len > 1 for s in attention.sequences)


def _casts(attention: Attention) -> tuple[Launch, ...]:
    """New keys, values and queries, from 16 bit to FP8."""
    keys, values = (attention.kv_heads * d for d in (attention.head_dim, attention.value_dim))
    sizes = {"k": keys, "v": values, "q": attention.q_heads * attention.head_dim}
    return tuple(
        _cast(attention, size, f"cast_{name}", (f"{name}_16", "q" if name == "q" else "new_kv"))
        for name, size in sizes.items()
    )


def _cast(attention: Attention, width: int, name: str, names: tuple[str, str]) -> Launch:
    """A plain copy from 16 bit to FP8, of so many elements a token."""
    size = _tokens(attention) * width * NEW_BYTES
    return plain_copy(size, name, names, shrinks=NEW_BYTES)


def sglang_kv_store(attention: Attention) -> tuple[Launch, ...]:
    """`MHATokenToKVPool.set_kv_buffer`: with an FP8 cache two kernels convert K and V first."""
    if attention.cache_dtype != "fp8" or attention.dtype == "fp8":
        return (sglang_cache_write(attention),)
    names = ("new_kv", "new_kv_8")
    widths = {"k": attention.head_dim, "v": attention.value_dim}
    casts = (
        _cast(attention, attention.kv_heads * width, f"convert_{name}", names)
        for name, width in widths.items()
    )
    write = sglang_cache_write(attention.model_copy(update={"dtype": "fp8"}))
    return *casts, reading(write, "new_kv", "new_kv_8")


def sglang_triton_store(attention: Attention) -> tuple[Launch, ...]:
    """What SGLang's Triton backend runs before attention."""
    return *_prepare_192(attention), *sglang_kv_store(attention)


def reading(launch: Launch, name: str, other: str) -> Launch:
    """The launch with one tensor that it reads replaced by another of the same size."""
    reads = (replace(o, name=other) if o.name == name else o for o in launch.reads)
    return replace(launch, reads=tuple(reads))


def _small_kernels(name: str, count: int) -> tuple[Launch, ...]:
    """Kernels of one CTA."""
    small = COPY_THREADS * LANE_BYTES
    return tuple(
        copy(
            f"{name}_{i}",
            1,
            (small, small),
            names=(f"{name}_in_{i}", f"{name}_out_{i}"),
            threads=COPY_THREADS,
            loads=1,
        )
        for i in range(count)
    )


def query_copy(attention: Attention, index: int) -> Launch:
    """A plain copy that brings Q into packed order before attention, 8 KiB a CTA."""
    size = _heads_bytes(attention, attention.head_dim)
    return plain_copy(size, f"copy_in_{index}", (f"q_{index}", "q"))


def output_copy(attention: Attention, index: int) -> Launch:
    """A plain copy that brings O back after attention."""
    size = _heads_bytes(attention, attention.value_dim)
    return plain_copy(size, f"copy_out_{index}", ("o", f"o_{index}"))


def _heads_bytes(attention: Attention, dim: int) -> int:
    return _tokens(attention) * attention.q_heads * dim * attention.element_bytes


def _tokens(attention: Attention) -> int:
    return sum(s.count * s.q_len for s in attention.sequences)
