"""What FlashAttention-3 decides before a launch: tile, packing, splits, order."""

from dataclasses import dataclass, replace
from math import ceil

from gpusim.errors import SpecError
from gpusim.schedules.flash3_tiles import (
    HEAD_DIMS,
    Flash3Case,
    sm8x_tile,
    sm90_fp8_tile,
    sm90_overridden,
    sm90_tile,
)
from gpusim.schedules.grid import Grid
from gpusim.schedules.splits import flash3_num_splits
from gpusim.schedules.tile import Tile
from gpusim.schedules.tiling import Tiling
from gpusim.spec.attention import Attention
from gpusim.spec.gpu import Gpu
from gpusim.units import MIB, ceil_div, round_up

#: Margin on the KV blocks that an SM should do when splits are set sequence by sequence.
SPLIT_MARGIN = 1.1
#: K and V bytes of the heads that take turns tile by tile: dense and variable-length scheduler.
DENSE_SECTION_BYTES, VARLEN_SECTION_BYTES = 32 * MIB, 8 * MIB
MAX_SPLITS = 256
#: Sequences that the prepare kernel sets splits for in one CTA; vLLM's fork splits no more.
FORK_SPLIT_BATCH = 992


@dataclass(frozen=True, slots=True, kw_only=True)
class Flash3Build:
    """What differs between builds of the kernels, and between their callers.

    Attributes:
        fork: vLLM's fork: its tiles, FP8 partial products added in FP32 outside the tensor cores
            (two-level accumulation), a combine kernel whose CTAs look for their sequence.
        scheduled: the scheduler's metadata come with the call, so that no prepare kernel runs.
        graph_splits: most splits in place of the heuristic for calls that are captured in a full
            CUDA graph, and their most tokens; at most two a sequence are.
    """

    fork: bool = False
    scheduled: bool = False
    graph_splits: tuple[int, int] | None = None


UPSTREAM = Flash3Build()


@dataclass(frozen=True, slots=True, kw_only=True)
class Flash3Plan:
    """The decisions.

    Attributes:
        tile, grid: of the forward kernel.
        varlen: the variable-length scheduler runs: any call but one over equal, unpaged prompts.
        masked: a causal or sliding-window mask applies.
        gathers: keys and values are gathered row by row, not fetched by TMA.
        most_splits: more than one: the kernel that splits runs, whether or not a sequence is split.
    """

    tile: Tile
    grid: Grid
    varlen: bool
    masked: bool
    gathers: bool
    most_splits: int


def flash3_plan(
    attention: Attention, gpu: Gpu, tiling: Tiling, build: Flash3Build = UPSTREAM
) -> Flash3Plan:
    """Plan a call.

    Raises:
        SpecError: if the kernel is not built for the head sizes, or the tiling is impossible.
    """
    lengths = {(s.q_len, s.kv_len) for s in attention.sequences}
    prompts = len(lengths) == 1 and all(q_len == kv_len for q_len, kv_len in lengths)
    varlen = attention.page_size is not None or not prompts
    local = attention.effective_window is not None
    masked = local or (attention.causal and not attention.single_query)
    case = _case(attention, build, masked=masked)
    tile, gathers = _tile(attention, gpu, tiling, case, varlen_split=varlen)
    cap = tiling.num_splits or 1
    if varlen and not tiling.num_splits:
        cap = _split_cap(attention, gpu, tile, build, masked=masked)
    if cap > MAX_SPLITS:
        raise SpecError(f"num_splits: expected at most {MAX_SPLITS}, found {cap}")
    if varlen and cap == 1:
        tile, gathers = _tile(attention, gpu, tiling, case, varlen_split=False)
    packed = attention.group_size if _packs(attention, gpu, tile, varlen or cap > 1) else 1
    longest_first = _persistent(
        gpu, varlen=varlen, split=cap > 1, causal=masked and not local
    ) and (masked or varlen)
    grid = Grid(
        packed=packed,
        splits=_splits(attention, gpu, tile, packed, cap, fixed=tiling.num_splits),
        split_after_mask=True,
        heads_inner=True,
        section=_section(attention, packed, varlen) if longest_first and cap == 1 else 1,
        longest_first=longest_first,
        sorted_sequences=longest_first and varlen and not local,
    )
    return Flash3Plan(
        tile=tile, grid=grid, varlen=varlen, masked=masked, gathers=gathers, most_splits=cap
    )


def _persistent(gpu: Gpu, *, varlen: bool, split: bool, causal: bool) -> bool:
    """Whether workers draw tiles, longest first; elsewhere a CTA per tile, in grid order.

    Always on Hopper; on Ampere and Ada for dense causal calls and variable lengths that split.
    """
    if gpu.tensor.wgmma_flop_per_clock:
        return True
    return split if varlen else causal


def _case(attention: Attention, build: Flash3Build, *, masked: bool) -> Flash3Case:
    """What the tile tables ask, with pages that TMA fetches."""
    head_dim = next((d for d in HEAD_DIMS if attention.head_dim <= d), 0)
    if not head_dim:
        raise SpecError(
            f"attention.head_dim: expected at most {HEAD_DIMS[-1]}, found {attention.head_dim}"
        )
    return Flash3Case(
        head_dim=head_dim,
        v_head_dim=_padded_value_dim(attention),
        causal=masked and attention.causal,
        local=attention.effective_window is not None,
        paged_gather=False,
        rows=max(s.q_len for s in attention.sequences) * attention.group_size,
        fork=build.fork,
    )


def _tile(
    attention: Attention, gpu: Gpu, tiling: Tiling, case: Flash3Case, *, varlen_split: bool
) -> tuple[Tile, bool]:
    """The tile, and whether keys and values are gathered for it."""
    if not gpu.tensor.wgmma_flop_per_clock:
        sm80 = gpu.architecture == "sm_80"
        return sm8x_tile(case, sm80=sm80, varlen_split=varlen_split).overridden(tiling), False
    table = sm90_fp8_tile if attention.dtype == "fp8" else sm90_tile
    tile = table(case)
    page = attention.page_size
    gathers = page is not None and bool(page % tile.block_n or case.rows <= tile.block_m)
    if gathers:
        tile = table(replace(case, paged_gather=True))  # TMA cannot fetch such pages
    return sm90_overridden(tile, tiling), gathers


def _padded_value_dim(attention: Attention) -> int:
    """Value width; only head sizes from 129 to 192 are built with a narrower one."""
    if attention.value_dim != attention.head_dim and not (
        128 < attention.head_dim <= 192 and attention.value_dim <= 128
    ):
        raise SpecError(
            f"attention.v_head_dim: expected head_dim ({attention.head_dim}), or at most 128 beside"
            f" head_dim 192, found {attention.value_dim}"
        )
    return round_up(attention.value_dim, 64)


def _split_cap(
    attention: Attention, gpu: Gpu, tile: Tile, build: Flash3Build, *, masked: bool
) -> int:
    """Most splits of a sequence: the heuristic, with the batch counted as one; or the caller's."""
    if build.graph_splits:
        splits, tokens = build.graph_splits
        if sum(s.count * s.q_len for s in attention.sequences) <= min(tokens, 2 * attention.batch):
            return splits
    if build.fork and attention.batch > FORK_SPLIT_BATCH:
        return 1
    longest = max(_seen_by_a_tile(attention, tile, s.kv_len) for s in attention.sequences)
    rows = max(s.q_len for s in attention.sequences) * attention.group_size
    m_blocks = ceil_div(rows, tile.block_m)
    return flash3_num_splits(
        attention.kv_heads * m_blocks,
        gpu.sm.count,
        ceil_div(longest, tile.block_n),
        num_m_blocks=m_blocks,
        kv_head_bytes=longest * attention.kv_row_bytes,
        masked=masked,
    )


def _seen_by_a_tile(attention: Attention, tile: Tile, kv_len: int) -> int:
    window = attention.effective_window
    if window is None:
        return kv_len
    sides = window if attention.causal else 2 * window - 1
    return min(kv_len, sides + tile.block_m)


def _packs(attention: Attention, gpu: Gpu, tile: Tile, varlen_or_split: bool) -> bool:
    """PackGQA: always where it is needed, else if it wastes less of the last tile."""
    if attention.group_size == 1:
        return False
    if varlen_or_split or not gpu.tensor.wgmma_flop_per_clock:
        return True
    q_len, group, m = attention.sequences[0].q_len, attention.group_size, tile.block_m
    return q_len / round_up(q_len, m) < 0.9 * q_len * group / round_up(q_len * group, m)


def _splits(
    attention: Attention, gpu: Gpu, tile: Tile, packed: int, cap: int, *, fixed: int | None
) -> tuple[int, ...]:
    """Splits of each sequence: as many as give an SM its share of all blocks, up to the cap."""
    if fixed or cap == 1:
        return (cap,) * len(attention.sequences)
    heads = attention.q_heads // packed
    blocks = [
        (
            s.count * heads * ceil_div(s.q_len * packed, tile.block_m),
            ceil_div(_seen_by_a_tile(attention, tile, s.kv_len), tile.block_n),
        )
        for s in attention.sequences
    ]
    share = SPLIT_MARGIN * sum(m * n for m, n in blocks) / gpu.sm.count
    per_sm = ceil(share)
    return tuple(min(cap, max(1, ceil_div(n, per_sm))) for _, n in blocks)


def _section(attention: Attention, packed: int, varlen: bool) -> int:
    """Heads that take turns tile by tile, so that their K and V stay in L2: a power of two."""
    heads = attention.q_heads // packed
    head_bytes = max(s.kv_len for s in attention.sequences) * attention.kv_row_bytes
    budget, most = (VARLEN_SECTION_BYTES, 16) if varlen else (DENSE_SECTION_BYTES, heads)
    streams = max(1, min(most, budget // head_bytes))
    section = (1 << (streams.bit_length() - 1)) * (attention.group_size // packed)
    while heads % section:
        section -= 1
    return section
