"""Kernels that serving frameworks launch around attention: the KV-cache write, and copies."""

from gpusim.schedules.launch import Launch, Operand
from gpusim.schedules.step import Part, Pipe, Step
from gpusim.schedules.work import flat_work
from gpusim.spec.attention import Attention
from gpusim.units import ceil_div

#: Registers of copy kernels; only their occupancy depends on them.
REGISTERS = 32
#: Bytes that a lane moves at once, and threads of a plain copy's CTA.
LANE_BYTES, COPY_THREADS = 16, 128


def vllm_cache_write(attention: Attention) -> Launch:
    """`reshape_and_cache_flash`: a CTA per new token, up to 512 threads over its KV heads.

    Each waits for the token's slot, then for its key and value, then stores them: three loads in a
    row, so that few KV heads leave the memory system idle. Source: vLLM `csrc/cache_kernels.cu`.
    """
    row = attention.kv_heads * attention.kv_row_bytes
    threads = min(attention.kv_heads * attention.head_dim, 512)
    return _copy("cache_write", _tokens(attention), row, threads, loads=3)


def sglang_cache_write(attention: Attention) -> Launch:
    """`store_cache`: a warp per new token walks its rows, four a CTA (SGLang `sgl-kernel`)."""
    row = attention.kv_heads * attention.kv_row_bytes
    items = ceil_div(_tokens(attention), 4)
    return _copy("cache_write", items, 4 * row, COPY_THREADS, loads=2)


def query_copy(attention: Attention, name: str) -> Launch:
    """A copy of Q or O by plain elementwise kernels, 8 KiB a CTA."""
    total = _tokens(attention) * attention.q_heads * attention.head_dim * attention.element_bytes
    chunk = 4 * COPY_THREADS * LANE_BYTES
    return _copy(name, ceil_div(total, chunk), min(total, chunk), COPY_THREADS, loads=1)


def _tokens(attention: Attention) -> int:
    return sum(s.count * s.q_len for s in attention.sequences)


def _copy(name: str, items: int, size: int, threads: int, *, loads: int) -> Launch:
    """`items` CTAs that each read `size` bytes and write as many."""
    step_bytes = threads * LANE_BYTES
    moved = float(items * size)
    return Launch(
        name=name,
        threads=threads,
        registers=REGISTERS,
        smem_bytes=0,
        step=Step(
            tracks=((Part("move", {Pipe.FP32: float(step_bytes / LANE_BYTES)}),),),
            load_bytes=float(step_bytes),
            loads=loads,
            syncs=0,
        ),
        work=flat_work(items, steps=ceil_div(size, step_bytes), loop_bytes=size, store_bytes=size),
        reads=(Operand(name=f"{name}_from", unique_bytes=moved, requested_bytes=moved),),
        writes=(Operand(name=f"{name}_to", unique_bytes=moved, requested_bytes=moved),),
    )
