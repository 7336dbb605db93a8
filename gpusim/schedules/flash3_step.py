"""One KV tile of FlashAttention-3's warp-specialised kernel on Hopper."""

from functools import lru_cache

from gpusim.schedules.flash3_two_level import two_level_parts
from gpusim.schedules.step import Part, Pipe, Step
from gpusim.schedules.tile import Tile

#: The producer transposes V in FP8 (LDSM, byte permutes, STSM). Measured steps of the FP8 kernel on
#: H100 are block_n·dv/28 (d = 128), /28 to /37 (64) and /42 clocks (256) longer than their other
#: parts explain: so many bytes a clock, and at 128 integer results a clock so many an element.
TRANSPOSED_PER_CLOCK = 34
TRANSPOSE_OPS = 128 / TRANSPOSED_PER_CLOCK
#: Calibrated on aiconfigurator SGLang 0.5.14 rows, H100 (decode with an FP8 cache beyond L2, d = 64
#: and 128): beside the transposition, the producer needs 0.65 us for each step in which it gathers
#: rows of K and V one by one and waits until V is there to be transposed.
GATHER_CLOCKS = 1150


@lru_cache(maxsize=1024)
def flash3_step(
    tile: Tile,
    *,
    dtype: str,
    gathers_pages_of: int | None = None,
    spilled_bytes: float | None = None,
) -> Step:
    """A track per consumer warpgroup of 64 rows; each reads its own copy of K and V.

    With S = 64·block_n scores a track:

        QKᵀ      tensor 2·S·d FLOP, smem (block_n + 64)·d·e B
        softmax  exp2 S; pack S/2; FP32 scale, max and sum 3·S, rescale O 64·dv
        PV       tensor 2·S·dv FLOP, smem block_n·dv·e B

    Two or more warpgroups take turns at the tensor cores (ping-pong) up to d = 128; beyond they run
    freely. In FP8 the source has them take turns from d = 128 on, but the measured steps at d = 64
    hide as much, so FP8 always does here. Source: `hopper/mainloop_fwd_sm90_tma_gmma_ws.hpp`.

    Args:
        tile: its shape.
        dtype: of Q, K and V.
        gathers_pages_of: keys of a cache page, if the producer gathers rows (`paged_kv.h`). In FP8
            it cannot run ahead of the V tile that it transposes; with pages of one key, it waits
            for the page table as well.
        spilled_bytes: of a track, if PV is added to O outside the tensor cores.
    """
    fp8 = dtype == "fp8"
    e = tile.element_bytes
    groups = tile.block_m // 64
    n, d, dv = tile.block_n, tile.head_dim, tile.value_dim
    scores = 64.0 * n
    loaded = float(n * (d + dv) * e)
    qk = {Pipe.TENSOR: 2 * scores * d, Pipe.SMEM: (n + 64.0) * d * e}
    pv = {Pipe.TENSOR: 2 * scores * dv, Pipe.SMEM: float(n * dv * e)}
    track = (
        Part("qk", qk),
        Part("exp2", {Pipe.EXP2: scores}),
        Part("pack", {Pipe.CONVERT: scores / 2}),
        Part("scale", {Pipe.FP32: 3 * scores + 64 * dv}),
        Part("pv", pv),
        *(two_level_parts(tile, spilled_bytes) if spilled_bytes is not None else ()),
    )
    transpose = Part("transpose", {Pipe.FP32: TRANSPOSE_OPS * n * dv}, exposed=True)
    copies = Part("load", {Pipe.SMEM: loaded}, hidden=True)
    producer = (copies, transpose) if fp8 else (copies,)
    gathers = fp8 and gathers_pages_of is not None
    return Step(
        tracks=((*producer, *track), *(track,) * (groups - 1)),
        ping_pong=groups > 1 and (fp8 or d <= 128),
        matrix_path="wgmma",
        matrix_dtype=dtype,
        load_bytes=loaded,
        loads=0 if gathers and gathers_pages_of != 1 else 2,
        stages=tile.stages,
        load_clocks=GATHER_CLOCKS + n * dv / TRANSPOSED_PER_CLOCK if gathers else 0.0,
        syncs=1.0 if groups == 1 else 0.0,
    )
