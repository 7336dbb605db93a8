"""Algorithm 1 of the FlashAttention paper (arXiv 2205.14135), as printed."""

from dataclasses import replace

from gpusim.errors import SpecError
from gpusim.schedules.launch import Launch
from gpusim.schedules.mask import q_bytes
from gpusim.schedules.pass_work import kv_operand, pass_work, revisited
from gpusim.schedules.passes import PassGrid, pass_table
from gpusim.schedules.step import attention_step
from gpusim.schedules.tile import Tile
from gpusim.schedules.tiling import Tiling
from gpusim.spec.attention import Attention
from gpusim.spec.gpu import Gpu
from gpusim.units import ceil_div

#: The paper names no CTA. S and O take Br·(Bc + d) fp32 registers, more than half of the file of an
#: SM, so one CTA has it all: 8 warps of 255.
NUM_WARPS, REGISTERS = 8, 255


def flash1_paper(attention: Attention, gpu: Gpu, tiling: Tiling) -> Launch:
    """One CTA per (batch, query head), with an SM to itself.

        Bc = ceil(M / 4d)    Br = min(Bc, d)    M: shared memory of an SM in 16-bit elements

    A step of Br queries and Bc keys reads Q, O, l and m and writes O, l and m; the paper counts all
    of them as elements, here of 16 bit. Per head, with Tc KV blocks:

        elements = 2·Nk·d + Tc·(3·Nq·d + 4·Nq)

    K, V and Q are in shared memory, S and O in registers. No block is skipped under a mask.
    """
    if tiling.num_splits is not None:
        raise SpecError("num_splits: expected none with algorithm paper")
    d, size = attention.head_dim, attention.element_bytes
    keys = ceil_div(gpu.sm.smem_bytes // 2, 4 * d)
    grid = PassGrid(rows=min(keys, d), keys=keys, skips=False)
    table, ctas = pass_table(attention, grid), grid.num_ctas(attention)
    state = (d + 2) * size
    rows = table.q_rows
    work = pass_work(attention, grid, table, loop=rows * (d * size + state), store=rows * state)
    once, requested = q_bytes(attention), work.total(rows) * d * size
    carried = once * (d + 2) / d  # O, l and m
    slots = gpu.sm.count
    kv = kv_operand(attention, grid, work, slots=slots, others=once + 2 * carried)
    between = once + carried + kv.unique_bytes / grid.num_passes(attention)
    between *= min(1.0, slots / ctas)
    q, o, statistics = (
        revisited(name, once * share, requested * share, between)
        for name, share in (("q", 1.0), ("o", 1.0), ("lm", 2 / d))
    )
    tile = Tile(block_m=grid.rows, block_n=keys, num_warps=NUM_WARPS, head_dim=d)
    return Launch(
        name="flash_attention_algorithm_1",
        threads=tile.threads,
        registers=tiling.registers or REGISTERS,
        smem_bytes=tile.smem_bytes,
        step=replace(
            attention_step(tile, matrix_dtype=attention.dtype),
            load_bytes=float(grid.rows * (d * size + state)),
            store_bytes=float(grid.rows * state),
            loads=1,
        ),
        work=work,
        tile=tile.choice,
        workers=ctas,
        reads=(q, kv, o, statistics),
        writes=(o, statistics),
    )
