"""FlashAttention-2, one kernel (Dao 2023, arXiv 2307.08691; flash-attention `csrc/flash_attn`)."""

from gpusim.schedules.forward import forward_launch
from gpusim.schedules.launch import Launch
from gpusim.schedules.split_kv import HEAD_DIMS, split_tile
from gpusim.schedules.tile import Tile, padded_head_dim
from gpusim.schedules.tiling import Tiling
from gpusim.spec.attention import Attention
from gpusim.spec.gpu import Gpu


def flash2(attention: Attention, gpu: Gpu, tiling: Tiling) -> tuple[Launch, ...]:
    """One CTA per (query tile, batch, head), keys from high to low, no splits.

    A paged cache is read by the split-KV kernel's tile with one split, as upstream does
    (`mha_varlen` forces it): 64 query rows, not 128.
    """
    head_dim = padded_head_dim(attention, HEAD_DIMS)
    paged = attention.page_size is not None
    tile = split_tile(head_dim) if paged else dense_tile(head_dim, gpu, causal=_masks(attention))
    name = "flash_fwd_splitkv" if paged else "flash_fwd"
    return (forward_launch(attention, tile.overridden(tiling), name=name),)


def _masks(attention: Attention) -> bool:
    """Whether the causal instantiation runs.

    One query a sequence needs no mask, and a sliding window runs the local instantiation, whose
    tiles are those without a mask (`is_causal = window_size_left < 0 && window_size_right == 0`).
    """
    windowed = attention.effective_window is not None
    return attention.causal and not attention.single_query and not windowed


def dense_tile(head_dim: int, gpu: Gpu, *, causal: bool) -> Tile:
    """Tile of `flash_fwd_launch_template.h` by head size, architecture and mask, without dropout.

    sm_86 and sm_89 have half the shared memory of sm_80, hence their smaller tiles.
    """
    sm8x = gpu.architecture in ("sm_86", "sm_89")
    block_m, block_n, warps = 128, 64, 4
    if head_dim <= 64:
        block_n = 128
    elif head_dim == 96:
        block_m = 64 if sm8x and causal else 128
    elif head_dim == 128 and sm8x:
        block_m, block_n = (64, 64) if causal else (128, 32)
    elif head_dim == 192:
        warps = 8
    elif head_dim == 256:
        # A100: one CTA fills the SM. H100 runs two of 96 KB; sm_86/89 hold no more than one.
        large = gpu.sm.max_smem_per_cta_bytes >= 128 * 1024 and gpu.sm.smem_bytes < 192 * 1024
        block_m, warps = (128, 8) if large else (64, 4)
    return Tile(block_m=block_m, block_n=block_n, num_warps=warps, head_dim=head_dim)
