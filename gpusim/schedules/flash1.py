"""FlashAttention-1 (arXiv 2205.14135): KV blocks outside, query rows inside.

Either the kernel of release v1.0.9 (`fmha_fprop_kernel_1xN.h`), or Algorithm 1 as the paper prints
it. Both carry the output of every query row through memory from one KV block to the next.
"""

from gpusim.errors import SpecError
from gpusim.schedules.flash1_paper import flash1_paper
from gpusim.schedules.launch import Launch, Operand
from gpusim.schedules.mask import o_bytes, q_bytes
from gpusim.schedules.occupancy import occupancy
from gpusim.schedules.passes import PassGrid, kv_operand, num_workers, pass_table, pass_work
from gpusim.schedules.splits import flash1_num_splits
from gpusim.schedules.step import Part, Pipe, Step
from gpusim.schedules.tile import padded_head_dim
from gpusim.schedules.tiling import Tiling
from gpusim.spec.attention import Attention
from gpusim.spec.gpu import Gpu
from gpusim.units import ceil_div

#: Head sizes that v1 is instantiated for; others are padded up.
HEAD_DIMS = (32, 64, 128)
ROWS, WARPS = 16, 4  # query rows of a step; warps of a CTA, side by side along the keys
FP32 = 4
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


def smem_bytes(head_dim: int, keys: int, *, k_in_registers: bool = True) -> int:
    """Shared memory of a CTA: Q twice, and the staging of K and V where O is reduced later.

        2·16·d·2 + max(keys·d·2, 4·16·d·4 + 2·16·4·4)      (their sum, if K does not leave it)

    The comments of v0.2.1: about 41 KB at d=128 with 128 keys, 105 KB with 256, where K stays.
    """
    staging = keys * head_dim * 2
    reduction = WARPS * ROWS * head_dim * FP32 + 2 * ROWS * WARPS * FP32
    q = 2 * ROWS * head_dim * 2
    return q + (max(staging, reduction) if k_in_registers else staging + reduction)


def shipped_step(head_dim: int, keys: int, dtype: str, *, carries: bool) -> Step:
    """16 query rows against a KV block in registers that the warps share out along the keys.

    With S = 16·keys scores and d the padded head size:

        QKᵀ      tensor 2·S·d FLOP, smem (warps + 1)·16·d·2 B for Q
        softmax  exp2 S; pack to 16 bit S/2; FP32 scale, max and sum 3·S
        PV       tensor 2·S·d FLOP
        reduce   smem 2·warps·16·d·4 B, each warp's partial O out and in again; FP32 4 additions and
                 2 scalings of 16·d, the output carried from the last pass included
        memory   in: Q, and O and log-sum-exp of the pass before; out: O and log-sum-exp

    Two barriers, for the maxima and before the reduction. O of this step and Q of the next load
    during the softmax.
    """
    scores, out = ROWS * keys, ROWS * head_dim
    gemm = 2.0 * scores * head_dim
    softmax = (
        Part("exp2", {Pipe.EXP2: float(scores)}),
        Part("pack", {Pipe.CONVERT: scores / 2}),
        Part("scale", {Pipe.FP32: 3.0 * scores}),
    )
    qk = Part("qk", {Pipe.TENSOR: gemm, Pipe.SMEM: (WARPS + 1.0) * out * 2})
    reduce = Part("reduce", {Pipe.SMEM: 2.0 * WARPS * out * FP32, Pipe.FP32: 6.0 * out})
    return Step(
        tracks=((qk, *softmax, Part("pv", {Pipe.TENSOR: gemm}), reduce),),
        matrix_dtype=dtype,
        load_bytes=float(out * 2 + (out + ROWS) * FP32 * carries),
        store_bytes=float(out * (FP32 if carries else 2) + ROWS * FP32),
    )


def _shipped(attention: Attention, gpu: Gpu, tiling: Tiling, head_dim: int) -> Launch:
    """The kernel of v1.0.9: fp32 O in the scratch `o_tmp`, and one log-sum-exp a row.

    A pass reads Q, and from the second on `o_tmp` and the log-sum-exp. It writes the log-sum-exp,
    and each row to `o_tmp` if a later pass needs it, else to O. A CTA comes back to a row after one
    pass over all its rows, so that Q, `o_tmp` and one KV block of all CTAs lie between.
    """
    keys = block_keys(attention, head_dim)
    registers, smem = tiling.registers or REGISTERS, smem_bytes(head_dim, keys)
    fit = occupancy(gpu, threads=32 * WARPS, registers=registers, smem_bytes=smem)
    splits = tiling.num_splits or flash1_num_splits(
        attention.batch * attention.q_heads,
        gpu.sm.count * max(1, fit.ctas_per_sm),
        ceil_div(max(s.q_len for s in attention.sequences), ROWS),
    )
    grid = PassGrid(rows=ROWS, keys=keys, splits=splits)
    table = pass_table(attention, grid)
    rows, carried = table[0].q_rows, table[0].carried
    again = (table[0].index > 0) * rows
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
    kv = kv_operand(attention, work, splits)
    # O and log-sum-exp of the rows with a second pass.
    kept = work.total((table[0].index == 1) * rows) * (d + 1) * FP32
    reuse = q + kept + kv.unique_bytes / grid.num_passes(attention)
    o_tmp = Operand(
        name="o_tmp",
        unique_bytes=kept,
        requested_bytes=work.total(again) * (d + 1) * FP32,
        reuse_bytes=reuse,
    )
    return Launch(
        name="fmha_fwd_loop",
        threads=32 * WARPS,
        registers=registers,
        smem_bytes=smem,
        step=shipped_step(head_dim, keys, attention.dtype, carries=kept > 0),
        work=work,
        tile={"block_m": ROWS, "block_n": keys, "num_warps": WARPS, "num_splits": splits},
        workers=num_workers(work),
        reads=(
            Operand(
                name="q",
                unique_bytes=q,
                requested_bytes=work.total(rows) * q_row,
                reuse_bytes=reuse,
            ),
            kv,
            *((o_tmp,) if kept else ()),
        ),
        writes=(
            Operand(name="o", unique_bytes=o, requested_bytes=o),
            Operand(name="lse", unique_bytes=lse, requested_bytes=lse),
            *((o_tmp,) if kept else ()),
        ),
    )
