"""Unfused attention: three kernels that pass the score matrix through HBM.

The baseline of the FlashAttention paper (arXiv 2205.14135, Algorithm 0): S = QKᵀ, P = softmax(S),
O = PV, with S and P in 16 bit. No tile is skipped under a mask. The matrix kernels use a library
tile of 128x128x32 (CUTLASS' default for 16-bit operands) on the GPU's fastest instruction path.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

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


@dataclass(frozen=True, slots=True)
class _Item:
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
    scores = sum(s.count * s.q_len * s.kv_len for s in attention.sequences) * attention.q_heads
    tokens = sum(s.count * s.kv_len for s in attention.sequences) * attention.kv_heads
    kv = BYTES[attention.cache_dtype]
    group = attention.group_size
    s_bytes = float(scores * SCORE_BYTES)
    k = ("k", tokens * attention.head_dim * float(kv))
    v = ("v", tokens * attention.value_dim * float(kv))

    def gemm(name: str, n: int, items: Iterator[_Item]) -> Launch:
        return _gemm(name, gpu, attention, tiling, (block_m, n), _work(items, attention.q_heads))

    qk = gemm("qk_gemm", block_n, _qk_items(attention, block_m, block_n))
    pv_n = min(block_n, round_up(attention.value_dim, 16))
    pv = gemm("pv_gemm", pv_n, _pv_items(attention, block_m, pv_n))
    softmax = _softmax(attention)
    return (
        _with_operands(qk, (("q", q_bytes(attention)), k), ("scores", s_bytes), group),
        _with_operands(softmax, (("scores", s_bytes),), ("weights", s_bytes), 1),
        _with_operands(pv, (("weights", s_bytes), v), ("o", o_bytes(attention)), group),
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


def _work(items: Iterator[_Item], heads: int) -> Work:
    kinds = list(items)
    return flat_work(
        [i.copies for i in kinds],
        steps=[i.steps for i in kinds],
        q_rows=[i.q_rows for i in kinds],
        kv_rows=[i.kv_rows for i in kinds],
        loop_bytes=[i.loop_bytes for i in kinds],
        store_bytes=[i.store_bytes for i in kinds],
        heads=heads,
    )


def _gemm(
    name: str,
    gpu: Gpu,
    attention: Attention,
    tiling: Tiling,
    block: tuple[int, int],
    work: Work,
) -> Launch:
    m, n = block
    warps, stages = tiling.num_warps or 4, tiling.stages or 3
    path = "wgmma" if gpu.tensor.wgmma_flop_per_clock else "mma_sync"
    elements = (m + n) * BLOCK_K
    # mma.sync: warps tile 2 x warps/2, each reads its rows and columns. wgmma: B once a group.
    read = (m + n * max(1, warps // 4)) if path == "wgmma" else (m * warps // 2 + 2 * n)
    parts = [
        Part(
            "mma",
            {
                Pipe.TENSOR: 2.0 * m * n * BLOCK_K,
                Pipe.SMEM: 2.0 * (read * BLOCK_K + elements),
            },
        )
    ]
    if BYTES[attention.cache_dtype] == 1:  # an FP8 cache is converted on its way in
        parts.insert(0, Part("unpack", {Pipe.CONVERT: float(n * BLOCK_K)}))
    return Launch(
        name=name,
        threads=32 * warps,
        registers=tiling.registers or min(255, m * n // (32 * warps) + 80),
        smem_bytes=2 * stages * elements,
        step=Step(
            tracks=(tuple(parts),),
            matrix_path=path,
            matrix_dtype=attention.dtype,
            load_bytes=2.0 * elements,
            stages=stages,
            syncs=0,
        ),
        work=work,
        reads=(),
        writes=(),
    )


def _softmax(attention: Attention) -> Launch:
    """One pass over the scores: read a row, scale, mask, max, exp2, sum, write 16 bit."""

    def items() -> Iterator[_Item]:
        for s in attention.sequences:
            for rows, n in _edges(s.count * s.q_len, SOFTMAX_ROWS):
                size = float(rows * s.kv_len * SCORE_BYTES)
                steps = rows * ceil_div(s.kv_len, SOFTMAX_COLUMNS)
                yield _Item(n, steps, rows, s.kv_len, size, size)

    columns = float(SOFTMAX_COLUMNS)
    return Launch(
        name="softmax",
        threads=128,
        registers=40,
        smem_bytes=1024,
        step=Step(
            tracks=(
                (
                    Part("exp2", {Pipe.EXP2: columns}),
                    Part("pack", {Pipe.CONVERT: columns}),
                    Part("scale", {Pipe.FP32: 5 * columns}),
                ),
            ),
            load_bytes=columns * SCORE_BYTES,
            stages=2,
            syncs=0,
        ),
        work=_work(items(), attention.q_heads),
        reads=(),
        writes=(),
    )


def _with_operands(
    launch: Launch,
    reads: tuple[tuple[str, float], ...],
    write: tuple[str, float],
    group: int,
) -> Launch:
    """Attach the tensors: bytes asked for beyond one pass are shared out by size."""
    requested = launch.work.total(launch.work.tiles.loop_bytes)
    unique = sum(size for _, size in reads)
    return replace(
        launch,
        reads=tuple(
            Operand(
                name=name,
                unique_bytes=size,
                requested_bytes=requested * size / unique,
                heads_per_stream=group if name in ("k", "v") else 1,
            )
            for name, size in reads
        ),
        writes=(once(write[0], write[1]),),
    )
