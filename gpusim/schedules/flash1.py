"""FlashAttention-1 (arXiv 2205.14135): KV blocks outside, query rows inside.

Either the kernel of release v1.0.9 (`fmha_fprop_kernel_1xN.h`), or Algorithm 1 as the paper prints
it. Both carry the output of every query row through memory from one KV block to the next.
"""

from dataclasses import replace

from gpusim.errors import SpecError
from gpusim.schedules.flash1_paper import flash1_paper
from gpusim.schedules.flash1_step import FP32, ROWS, WARPS, shipped_step, smem_bytes
from gpusim.schedules.launch import Launch, once
from gpusim.schedules.mask import o_bytes, q_bytes
from gpusim.schedules.occupancy import slots_of
from gpusim.schedules.pass_work import kv_operand, pass_work, revisited
from gpusim.schedules.passes import PassGrid, pass_table
from gpusim.schedules.splits import flash1_num_splits
from gpusim.schedules.tile import padded_head_dim
from gpusim.schedules.tiling import Tiling
from gpusim.spec.attention import Attention
from gpusim.spec.compiled import Resources
from gpusim.spec.gpu import Gpu
from gpusim.units import ceil_div

#: Head sizes that v1 is instantiated for; others are padded up.
HEAD_DIMS = (32, 64, 128)
#: Not published. The fragments of K and V stay in registers, 2·keys·d·2 B over 128 threads: 128 of
#: them at d=64 and at d=128. With each warp's own O, 16·d/32, and the rest of the step beside them
#: the compiler's limit is near, and with it come the 2 CTAs an SM that the source speaks of.
REGISTERS = 255


def flash1(attention: Attention, gpu: Gpu, tiling: Tiling) -> tuple[Launch, ...]:
    """One CTA per (batch, query head, query split), or per (batch, query head) in the paper."""
    head_dim = padded_head_dim(attention, HEAD_DIMS)
    _check_features(attention)
    if tiling.algorithm == "paper":
        return (flash1_paper(attention, gpu, tiling),)
    return (_shipped(attention, gpu, tiling, head_dim),)


def _check_features(attention: Attention) -> None:
    absent = {"window": attention.effective_window, "page_size": attention.page_size}
    for field, value in absent.items():
        if value is not None:
            raise SpecError(f"attention.{field}: expected none, found {value}")
    if attention.cache_dtype != attention.dtype:
        raise SpecError(
            f"attention.kv_dtype: expected {attention.dtype}, found {attention.cache_dtype}"
        )


def block_keys(attention: Attention, head_dim: int) -> int:
    """Keys of a KV block: 128 for d=128 or at most 128 keys, else 256 (`fmha_fwd_hdim*.cu`)."""
    longest = max(s.kv_len for s in attention.sequences)
    return 128 if head_dim > 64 or longest <= 128 else 256


def _shipped(attention: Attention, gpu: Gpu, tiling: Tiling, head_dim: int) -> Launch:
    """The kernel of v1.0.9, with its split heuristic."""
    keys = block_keys(attention, head_dim)
    registers, smem = tiling.registers or REGISTERS, smem_bytes(head_dim, keys)
    resources = Resources(threads=32 * WARPS, registers=registers, smem_bytes=smem)
    splits = tiling.num_splits or flash1_num_splits(
        attention.batch * attention.q_heads,
        slots_of(gpu, **resources),
        ceil_div(max(s.q_len for s in attention.sequences), ROWS),
    )
    return pass_launch(attention, gpu, keys=keys, splits=splits, resources=resources)


def pass_launch(
    attention: Attention, gpu: Gpu, *, keys: int, splits: int, resources: Resources
) -> Launch:
    """Passes over blocks of so many keys: fp32 O in the scratch `o_tmp`, one log-sum-exp a row.

    A pass reads Q, and from the second on `o_tmp` and the log-sum-exp. It writes the log-sum-exp,
    and each row to `o_tmp` if a later pass needs it, else to O. A CTA comes back to a row after one
    pass over all its rows, so that Q, `o_tmp` and one KV block of the CTAs at work lie between.
    """
    slots, head_dim = slots_of(gpu, **resources), padded_head_dim(attention, HEAD_DIMS)
    grid = PassGrid(rows=ROWS, keys=keys, splits=splits)
    table, ctas = pass_table(attention, grid), grid.num_ctas(attention)
    rows, carried = table.q_rows, table.carried
    again = (table.index > 0) * rows
    d = attention.head_dim
    q_row, o_row = d * attention.element_bytes, d * attention.output_bytes
    work = pass_work(
        attention,
        grid,
        table,
        loop=rows * q_row + again * (d + 1) * FP32,
        store=carried * d * FP32 + (rows - carried) * o_row + rows * FP32,
    )

    q, o = q_bytes(attention), o_bytes(attention)
    lse = work.total(rows - carried) * FP32
    # O and log-sum-exp of the rows with a second pass.
    kept = work.total((table.index == 1) * rows) * (d + 1) * FP32
    kv = kv_operand(attention, grid, work, slots=slots, others=q + o + lse + 2 * kept)
    between = q + kept + kv.unique_bytes / grid.num_passes(attention)
    between *= min(1.0, slots / ctas)
    queries = revisited("q", q, work.total(rows) * q_row, between)
    scratch = revisited("o_tmp", kept, work.total(again) * (d + 1) * FP32, between)
    o_tmp = (replace(scratch, scratch_distance=between),) if kept else ()
    return Launch(
        name="fmha_fwd_loop",
        **resources,
        step=shipped_step(head_dim, keys, attention.dtype, carries=kept > 0),
        work=work,
        tile={"block_m": ROWS, "block_n": keys, "num_warps": WARPS, "num_splits": splits},
        workers=ctas,
        reads=(queries, kv, *o_tmp),
        writes=(
            once("o", o),
            once("lse", lse),
            *o_tmp,
        ),
    )
