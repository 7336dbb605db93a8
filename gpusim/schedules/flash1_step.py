"""The step of FlashAttention-1 as shipped, and its shared memory."""

from functools import lru_cache

from gpusim.schedules.step import Part, Pipe, Step

ROWS, WARPS = 16, 4  # query rows of a step; warps of a CTA, side by side along the keys
FP32 = 4


def smem_bytes(head_dim: int, keys: int, *, k_in_registers: bool = True) -> int:
    """Shared memory of a CTA: Q twice, and the staging of K and V where O is reduced later.

        2·16·d·2 + max(keys·d·2, 4·16·d·4 + 2·16·4·4)      (their sum, if K does not leave it)

    The comments of v0.2.1: about 41 KB at d=128 with 128 keys, 105 KB with 256, where K stays.
    """
    staging = keys * head_dim * 2
    reduction = WARPS * ROWS * head_dim * FP32 + 2 * ROWS * WARPS * FP32
    q = 2 * ROWS * head_dim * 2
    return q + (max(staging, reduction) if k_in_registers else staging + reduction)


@lru_cache(maxsize=1024)
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
