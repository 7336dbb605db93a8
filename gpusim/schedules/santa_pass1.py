"""The first half of S²ANTA-prop: scores and weights, on CUDA cores for the common shape."""

import numpy as np

from gpusim.schedules import santa
from gpusim.schedules.launch import Launch, Operand, once
from gpusim.schedules.step import Part, Pipe, Step
from gpusim.spec.attention import Attention
from gpusim.spec.gpu import Gpu
from gpusim.units import ceil_div

#: What the score loop saves a row against the fused kernel: 84 against 90 on sm_89, and as much
#: assumed elsewhere.
FEWER_INSTRUCTIONS = 6


def pass1(attention: Attention, gpu: Gpu, keys: santa.KeyTiles) -> Launch:
    """One CTA per (tile, KV head): scores, weights to the stash, maximum and sum of the tile.

    The stash is [key, query head]: a group's few bytes of a row cost a 32-byte sector each on their
    way to L2, which joins them.
    """
    group, dim = attention.group_size, attention.head_dim
    vector = (dim, group, keys.block_n) == (128, 4, 256)
    row = dim * attention.element_bytes
    lengths = (keys.stop - keys.start).astype(np.float64)
    stash = santa.stash_bytes(attention, gpu, lengths)
    work = santa.tile_work(
        attention,
        keys,
        batch=1,
        loop=lengths * row,
        store=stash + group * santa.STAT_BYTES,
    )
    k_bytes, q_asked = work.total(work.tiles.loop_bytes), work.total(work.tiles.load_bytes)
    stats = float(work.num_items * group * santa.STAT_BYTES)
    stashed = float(keys.kv_len * attention.q_heads * attention.element_bytes)
    kernel, warps = ("pass1_vec", 8) if vector else ("pass1_wmma", keys.block_n // 16)
    return Launch(
        name=kernel,
        threads=32 * warps,
        registers=santa.registers(kernel, gpu),
        smem_bytes=4240 if vector else wmma_smem_bytes(keys.block_n),
        step=_vector_step(gpu, keys.rows, row) if vector else _wmma_step(attention, keys),
        work=work,
        tile={"block_n": keys.block_n, "num_warps": warps},
        reads=(
            Operand(name="q", unique_bytes=float(attention.q_heads * row), requested_bytes=q_asked),
            once("k", k_bytes),
        ),
        writes=(
            Operand(name="stash", unique_bytes=stashed, requested_bytes=work.total(stash)),
            once("stats", stats),
        ),
    )


def wmma_smem_bytes(block_n: int) -> int:
    """Q and K panels of 16 features, and a 16x16 fp32 tile and two row statistics a warp.

    >>> [wmma_smem_bytes(n) for n in (32, 64, 256)]
    [3968, 7296, 27264]
    """
    warps = block_n // 16
    return 2 * (256 + 16 * block_n) + 4 * (256 * warps + 32 * warps + 32)


def _vector_step(gpu: Gpu, rows: int, row_bytes: int) -> Step:
    """CUDA-core scores, one 256-byte row in flight a warp, as in the fused kernel."""
    instructions = santa.row_instructions(gpu) - FEWER_INSTRUCTIONS
    return Step(
        tracks=(tuple(santa.score_parts(rows, 4, instructions)),),
        load_bytes=float(rows * row_bytes),
        loads=ceil_div(rows, 8),
        syncs=2,  # four barriers
    )


def _wmma_step(attention: Attention, keys: santa.KeyTiles) -> Step:
    """Tensor-core scores: 16 padded query rows, 16 features at a time between two barriers."""
    dim, n = attention.head_dim, keys.block_n
    panels = dim // 16
    staged = 2.0 * (256 + 16 * n)  # written, and read once by the warps together
    scored = float(n * attention.group_size)
    return Step(
        tracks=(
            (
                Part(
                    "qk",
                    {
                        Pipe.TENSOR: 2.0 * 16 * n * dim,
                        Pipe.SMEM: panels * (2 * staged + 2 * 256 * (n // 16 - 1)),
                    },
                ),
                Part("exp2", {Pipe.EXP2: scored, Pipe.CONVERT: scored}),
            ),
        ),
        matrix_dtype=attention.dtype,
        load_bytes=float(keys.rows * dim * attention.element_bytes),
        loads=panels,
        syncs=panels + 3,  # and six barriers after
    )
