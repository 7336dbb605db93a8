"""FlashAttention-3 (Shah et al. 2024, arXiv 2407.08608; `hopper/` of flash-attention).

On Hopper a persistent, warp-specialised kernel: a producer warpgroup loads, one to three consumer
warpgroups multiply and take the softmax. On Ampere and Ada the same code runs its sm8x kernels.
Not modelled: TMA multicast within clusters of two CTAs (dense, no mask, d >= 128).
"""

from dataclasses import replace

from gpusim.errors import SpecError
from gpusim.schedules.combine import combine_launch, flash3_combine
from gpusim.schedules.flash3_plan import UPSTREAM, Flash3Build, Flash3Plan, flash3_plan
from gpusim.schedules.flash3_prepare import (
    SEQUENCES_PER_CTA,
    SEQUENCES_PER_WARP,
    counter_reset,
    prepare_launch,
)
from gpusim.schedules.flash3_step import flash3_step
from gpusim.schedules.flash3_two_level import spilled_bytes
from gpusim.schedules.forward import grid_launch
from gpusim.schedules.grid import grid_operands, grid_work
from gpusim.schedules.launch import Launch
from gpusim.schedules.step import Pipe
from gpusim.schedules.tile import Tile
from gpusim.schedules.tiling import Tiling
from gpusim.schedules.work import Work, dealt
from gpusim.spec.attention import Attention
from gpusim.spec.gpu import Gpu
from gpusim.units import ceil_div

#: Calibrated on aiconfigurator SGLang 0.5.14 rows, H100 (1755 MHz): 0.33 us for a scheduler's walk
#: over 31 sequences (decode of one token, large batches); 0.85 us for an item of two or more
#: consumer warpgroups beyond one warpgroup's (short prompts).
WALK_CLOCKS, HAND_OVER_CLOCKS = 580, 1500
#: Calibrated on aiconfigurator SGLang 0.5.10 rows, A100 (1410 MHz): a CTA of the sm8x kernel takes
#: 1.2 us longer than FlashAttention-2's beside its steps, one of the splitting kernel 2.8 us.
SM8X_CLOCKS, SM8X_SPLIT_CLOCKS = 1700, 4000

#: A score is compared with both limits of a window and selected twice (`hopper/mask.h`).
MASK_OPS = 4


def flash3(attention: Attention, gpu: Gpu, tiling: Tiling) -> tuple[Launch, ...]:
    """The 16-bit kernel: tiles by head size and mask, PackGQA, splits, combine."""
    for field, dtype in (("dtype", attention.dtype), ("kv_dtype", attention.cache_dtype)):
        if dtype == "fp8":
            raise SpecError(f"attention.{field}: expected fp16 or bf16 (flash3_fp8 takes fp8)")
    return flash3_launches(attention, gpu, tiling)


def quantised(attention: Attention) -> Attention:
    """The same problem with Q, K and V in FP8, quantised beforehand, outside the call."""
    return attention.model_copy(update={"dtype": "fp8", "kv_dtype": "fp8"})


def flash3_fp8(attention: Attention, gpu: Gpu, tiling: Tiling) -> tuple[Launch, ...]:
    """The e4m3 kernel: Q, K and V in FP8, V transposed on its way, 16-bit output."""
    if "fp8" not in gpu.tensor.wgmma_flop_per_clock:
        raise SpecError(f"expected a GPU with FP8 warpgroup instructions, found {gpu.name}")
    return flash3_launches(attention, gpu, tiling)


def flash3_launches(
    attention: Attention, gpu: Gpu, tiling: Tiling, build: Flash3Build = UPSTREAM
) -> tuple[Launch, ...]:
    """The scheduler's prepare kernel for variable lengths, the kernel, the combine kernel.

    The combine kernel runs wherever a sequence might have been split, and its CTAs end early where
    none was. If a call is scheduled beforehand, it or `zero_` resets the tile counter. Source:
    `mha_fwd` in `hopper/flash_api.cpp`.
    """
    plan = flash3_plan(attention, gpu, tiling, build)
    prepares = plan.varlen and not build.scheduled
    launches: list[Launch] = []
    if prepares:
        sorts = attention.effective_window is None
        launches.append(prepare_launch(attention.batch, gpu, sorts=sorts))
    if gpu.tensor.wgmma_flop_per_clock:
        early = prepares and attention.batch <= SEQUENCES_PER_CTA
        launches.append(_sm90_launch(attention, gpu, plan, build, programmatic=early))
    else:
        clocks = SM8X_SPLIT_CLOCKS if plan.grid.longest_first else SM8X_CLOCKS
        forward = grid_launch(attention, plan.tile, plan.grid, name="flash_fwd_sm80")
        launches.append(replace(forward, item_clocks=clocks))
    if plan.most_splits > 1:
        launches.append(_combine(attention, gpu, plan, build))
    elif build.scheduled:
        launches.append(counter_reset())
    return tuple(launches)


def _sm90_launch(
    attention: Attention, gpu: Gpu, plan: Flash3Plan, build: Flash3Build, *, programmatic: bool
) -> Launch:
    """The persistent kernel on Hopper.

    Dense calls without a mask deal tiles out in turn; all others draw from a counter.
    """
    tile, splits = plan.tile, max(plan.grid.splits)
    work = grid_work(attention, tile, plan.grid)
    reads, writes = grid_operands(attention, work, plan.grid)
    workers = min(work.num_items, gpu.sm.count)
    static = not plan.varlen and not plan.masked and splits == 1
    windowed = attention.effective_window is not None and not attention.single_query
    two_level = build.fork and attention.dtype == "fp8"
    return Launch(
        name="flash_fwd_sm90",
        **tile.resources,
        step=flash3_step(
            tile,
            dtype=attention.dtype,
            gathers_pages_of=attention.page_size if plan.gathers else None,
            spilled_bytes=spilled_bytes(tile, gpu) if two_level else None,
        ),
        work=dealt(work, workers) if static else work,
        reads=reads,
        writes=writes,
        tile=tile.choice | {"num_splits": splits},
        workers=workers,
        programmatic=programmatic,
        item_amounts=_edges(tile, work) if windowed else {},
        item_clocks=_hopper_item_clocks(attention, gpu, plan, work.num_items),
    )


def _edges(tile: Tile, work: Work) -> dict[Pipe, float]:
    """What an item's tiles at the two edges of a sliding window need more, for their masks.

    Each edge lies in two tiles, and in all of them if an item has no more than four.
    """
    steps = work.total_steps / work.num_items
    return {Pipe.FP32: MASK_OPS * tile.block_m * tile.block_n * min(steps, 4.0)}


def _combine(attention: Attention, gpu: Gpu, plan: Flash3Plan, build: Flash3Build) -> Launch:
    """The combine kernel: its CTAs read their sequence's splits, and end where there is but one.

    Those of the fork find their sequence first, one CTA more than needed for each
    (`StaticVarlenTileScheduler`).
    """
    splits = plan.grid.splits
    kernel = flash3_combine(attention.value_dim, programmatic=bool(gpu.tensor.wgmma_flop_per_clock))
    idle = attention.batch if build.fork else 0
    for s, n in zip(attention.sequences, splits, strict=True):
        if n == 1:
            idle += ceil_div(s.count * s.q_len * attention.q_heads, kernel.block_m)
    clocks = gpu.l2.latency_clocks
    if build.fork:
        clocks = WALK_CLOCKS * (1 + ceil_div(attention.batch, 32)) / 2
    plain = max(splits) == 1
    return combine_launch(attention, kernel, splits, idle=idle, plain=plain, item_clocks=clocks)


def _hopper_item_clocks(attention: Attention, gpu: Gpu, plan: Flash3Plan, items: int) -> float:
    """Clocks in which consumers hand over from one item to the next, and in which it is found.

    With variable lengths one warp walks over the batch, 31 sequences at a time. While each of W
    workers takes one of the items of a batch B, it passes W·B/items sequences, at most B: also on
    its way to a first item.
    """
    hand_over = HAND_OVER_CLOCKS if plan.tile.block_m > 64 else 0.0
    if not plan.varlen:
        return hand_over
    passed = min(gpu.sm.count * attention.batch / items, attention.batch)
    # Causal and windowed kernels then read how many heads take turns (`num_nheads_in_l2_ptr`).
    # A single query drops its mask, but not at d = 128 with pages (`mha_fwd`).
    paged_128 = attention.page_size is not None and 64 < attention.head_dim <= 128
    swizzles = plan.masked or (attention.causal and paged_128)
    read = gpu.l2.latency_clocks if swizzles else 0.0
    return hand_over + read + WALK_CLOCKS * passed / SEQUENCES_PER_WARP
