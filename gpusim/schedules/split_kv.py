"""FlashAttention-2 split-KV ("flash-decoding"; `flash_attn_with_kvcache` of flash-attention)."""

from gpusim.errors import SpecError
from gpusim.schedules.combine import combine_launch, flash2_combine
from gpusim.schedules.forward import forward_launch, packed_heads
from gpusim.schedules.launch import Launch
from gpusim.schedules.splits import flash2_num_splits
from gpusim.schedules.tile import Tile, padded_head_dim
from gpusim.schedules.tiling import Tiling
from gpusim.spec.attention import Attention
from gpusim.spec.gpu import Gpu
from gpusim.units import ceil_div

#: The combine kernel is built for up to 2^7 splits.
MAX_SPLITS = 128

#: Head sizes that FlashAttention-2 is instantiated for; others are padded up.
HEAD_DIMS = (32, 64, 96, 128, 192, 256)


def flash2_split_kv(attention: Attention, gpu: Gpu, tiling: Tiling) -> tuple[Launch, ...]:
    """The split kernel, then the combine kernel if there is more than one split.

    The split kernel also runs where the heuristic finds one split enough, as upstream does when the
    call appends the step's keys to the cache or the cache is paged, which serving always does.
    """
    head_dim = padded_head_dim(attention, HEAD_DIMS)
    tile = split_tile(head_dim).overridden(tiling)
    if (tiling.num_splits or 0) > MAX_SPLITS:
        raise SpecError(f"num_splits: expected at most {MAX_SPLITS}, found {tiling.num_splits}")
    splits = tiling.num_splits or num_splits(attention, gpu, tile)
    forward = forward_launch(attention, tile, name="flash_fwd_splitkv", splits=splits)
    if splits == 1:
        return (forward,)
    every = (splits,) * len(attention.sequences)
    return forward, combine_launch(attention, flash2_combine(head_dim), every)


def split_tile(head_dim: int) -> Tile:
    """64 query rows, 256, 128 or 64 keys by head size, 4 warps (`run_mha_fwd_splitkv_dispatch`)."""
    block_n = 256 if head_dim <= 64 else 128 if head_dim <= 128 else 64
    return Tile(block_m=64, block_n=block_n, num_warps=4, head_dim=head_dim)


def num_splits(attention: Attention, gpu: Gpu, tile: Tile) -> int:
    """Splits by the heuristic, from the longest sequence; ragged query lengths never split."""
    q_lens = {s.q_len for s in attention.sequences}
    if len(q_lens) > 1:
        return 1
    packed = packed_heads(attention)
    m_blocks = ceil_div(max(q_lens) * packed, tile.block_m)
    n_blocks = ceil_div(max(s.kv_len for s in attention.sequences), tile.block_n)
    total = attention.batch * (attention.q_heads // packed) * m_blocks
    return flash2_num_splits(total, 2 * gpu.sm.count, n_blocks)
