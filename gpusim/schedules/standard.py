"""Unfused attention: three kernels that pass the score matrix through HBM.

The baseline of the FlashAttention paper (arXiv 2205.14135, Algorithm 0): S = QKᵀ, P = softmax(S),
O = PV, with S and P in 16 bit. No tile is skipped under a mask. The matrix kernels use a library
tile of 128x128x32 (CUTLASS' default for 16-bit operands) on the GPU's fastest instruction path.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from gpusim.errors import SpecError
from gpusim.schedules.launch import Launch, Operand, once
from gpusim.schedules.mask import o_bytes, q_bytes
from gpusim.schedules.step import Part, Pipe, Step
from gpusim.schedules.tiling import Tiling
from gpusim.schedules.work import Work, flat_work
from gpusim.spec.attention import BYTES, Attention
from gpusim.spec.gpu import Gpu
from gpusim.units import ceil_div, round_up

BLOCK_K = 32
SCORE_BYTES = 2
#: Softmax kernel: rows a CTA walks, and score columns a step reads.
SOFTMAX_ROWS, SOFTMAX_COLUMNS = 16, 1024


#: Name of a tensor, its bytes, and consecutive heads that read the same ones.
_Tensor = tuple[str, float, int]
#: What a launch reads and writes.
_Operands = tuple[tuple[Operand, ...], tuple[Operand, ...]]


class _Item(NamedTuple):
    """One kind of work item, `copies` times in each head."""

    copies: int
    steps: int
    q_rows: int
    kv_rows: int
    loop_bytes: float
    store_bytes: float


def standard(attention: Attention, gpu: Gpu, tiling: Tiling) -> tuple[Launch, ...]:
    """QKᵀ, softmax and PV as three launches."""
    if attention.dtype == "fp8":
        raise SpecError("attention.dtype: expected fp16 or bf16, found fp8")
    block_m, block_n = tiling.block_m or 128, tiling.block_n or 128
    pairs = sum(s.count * s.q_len * s.kv_len for s in attention.sequences) * attention.q_heads
    tokens = sum(s.count * s.kv_len for s in attention.sequences) * attention.kv_heads
    kv = BYTES[attention.cache_dtype]
    group = attention.group_size
    s_bytes = float(pairs * SCORE_BYTES)
    k = ("k", tokens * attention.head_dim * float(kv), group)
    v = ("v", tokens * attention.value_dim * float(kv), group)

    def gemm(name: str, n: int, items: Iterable[_Item], *tensors: _Tensor) -> Launch:
        work = _work(items, attention.q_heads)
        return _gemm(name, gpu, attention, tiling, (block_m, n), work, _operands(work, tensors))

    pv_n = min(block_n, round_up(attention.value_dim, 16))
    q, o = ("q", q_bytes(attention), 1), ("o", o_bytes(attention), 1)
    scores, weights = ("scores", s_bytes, 1), ("weights", s_bytes, 1)
    return (
        gemm("qk_gemm", block_n, _qk_items(attention, block_m, block_n), q, k, scores),
        _softmax(attention, scores, weights),
        gemm("pv_gemm", pv_n, _pv_items(attention, block_m, pv_n), weights, v, o),
    )


def _edges(length: int, block: int) -> list[tuple[int, int]]:
    """(rows, how many blocks) for the full blocks and the rest."""
    full, rest = divmod(length, block)
    return [(block, full)] * (full > 0) + [(rest, 1)] * (rest > 0)


def _qk_items(attention: Attention, block_m: int, block_n: int) -> Iterator[_Item]:
    d, steps = attention.head_dim, ceil_div(attention.head_dim, BLOCK_K)
    for s in attention.sequences:
        for rows, m in _edges(s.q_len, block_m):
            for keys, n in _edges(s.kv_len, block_n):
                loads = d * (rows * attention.element_bytes + keys * BYTES[attention.cache_dtype])
                yield _Item(
                    s.count * m * n,
                    steps,
                    rows,
                    keys,
                    float(loads),
                    float(rows * keys * SCORE_BYTES),
                )


def _pv_items(attention: Attention, block_m: int, block_n: int) -> Iterator[_Item]:
    for s in attention.sequences:
        steps = ceil_div(s.kv_len, BLOCK_K)
        for rows, m in _edges(s.q_len, block_m):
            for columns, n in _edges(attention.value_dim, block_n):
                row = rows * SCORE_BYTES + columns * BYTES[attention.cache_dtype]
                stored = rows * columns * attention.output_bytes
                yield _Item(
                    s.count * m * n, steps, rows, s.kv_len, float(s.kv_len * row), float(stored)
                )


def _work(items: Iterable[_Item], heads: int) -> Work:
    copies, steps, q_rows, kv_rows, loop_bytes, store_bytes = zip(*items, strict=True)
    return flat_work(
        copies,
        steps=steps,
        q_rows=q_rows,
        kv_rows=kv_rows,
        loop_bytes=loop_bytes,
        store_bytes=store_bytes,
        heads=heads,
    )


def _operands(work: Work, tensors: tuple[_Tensor, ...]) -> _Operands:
    """All tensors but the last are read: bytes asked for beyond one pass are shared out by size."""
    *read, (written, written_bytes, _) = tensors
    requested = work.total(work.tiles.loop_bytes)
    unique = sum(size for _, size, _ in read)
    reads = tuple(
        Operand(
            name=name,
            unique_bytes=size,
            requested_bytes=requested * size / unique,
            heads_per_stream=group,
        )
        for name, size, group in read
    )
    return reads, (once(written, written_bytes),)


def _gemm(
    name: str,
    gpu: Gpu,
    attention: Attention,
    tiling: Tiling,
    block: tuple[int, int],
    work: Work,
    operands: _Operands,
) -> Launch:
    m, n = block
    warps, stages = tiling.num_warps or 4, tiling.stages or 3
    path = "wgmma" if gpu.tensor.wgmma_flop_per_clock else "mma_sync"
    reads, writes = operands
    converts = BYTES[attention.cache_dtype] == 1
    return Launch(
        name=name,
        threads=32 * warps,
        registers=tiling.registers or min(255, m * n // (32 * warps) + 80),
        smem_bytes=2 * stages * (m + n) * BLOCK_K,
        step=_gemm_step(block, warps, stages, path, attention.dtype, converts=converts),
        work=work,
        reads=reads,
        writes=writes,
    )


@lru_cache(maxsize=1024)
def _gemm_step(
    block: tuple[int, int], warps: int, stages: int, path: str, dtype: str, *, converts: bool
) -> Step:
    """A slice of K. An FP8 cache is converted on its way in."""
    m, n = block
    elements = (m + n) * BLOCK_K
    # mma.sync: warps tile 2 x warps/2, each reads its rows and columns. wgmma: B once a group.
    read = (m + n * max(1, warps // 4)) if path == "wgmma" else (m * warps // 2 + 2 * n)
    moved = 2.0 * (read * BLOCK_K + elements)
    mma = Part("mma", {Pipe.TENSOR: 2.0 * m * n * BLOCK_K, Pipe.SMEM: moved})
    unpack = Part("unpack", {Pipe.CONVERT: float(n * BLOCK_K)})
    return Step(
        tracks=((unpack, mma) if converts else (mma,),),
        matrix_path=path,
        matrix_dtype=dtype,
        load_bytes=2.0 * elements,
        stages=stages,
        syncs=0,
    )


_COLUMNS = float(SOFTMAX_COLUMNS)
_SOFTMAX_STEP = Step(
    tracks=(
        (
            Part("exp2", {Pipe.EXP2: _COLUMNS}),
            Part("pack", {Pipe.CONVERT: _COLUMNS}),
            Part("scale", {Pipe.FP32: 5 * _COLUMNS}),
        ),
    ),
    load_bytes=_COLUMNS * SCORE_BYTES,
    stages=2,
    syncs=0,
)


def _softmax_items(attention: Attention) -> Iterator[_Item]:
    for s in attention.sequences:
        for rows, n in _edges(s.count * s.q_len, SOFTMAX_ROWS):
            size = float(rows * s.kv_len * SCORE_BYTES)
            steps = rows * ceil_div(s.kv_len, SOFTMAX_COLUMNS)
            yield _Item(n, steps, rows, s.kv_len, size, size)


def _softmax(attention: Attention, *tensors: _Tensor) -> Launch:
    """One pass over the scores: read a row, scale, mask, max, exp2, sum, write 16 bit."""
    work = _work(_softmax_items(attention), attention.q_heads)
    reads, writes = _operands(work, tensors)
    return Launch(
        name="softmax",
        threads=128,
        registers=40,
        smem_bytes=1024,
        step=_SOFTMAX_STEP,
        work=work,
        reads=reads,
        writes=writes,
    )
