"""How many parts a kernel cuts the KV range of one output into."""

from functools import lru_cache

import numpy as np

from gpusim.schedules.columns import Floats, Ints
from gpusim.units import ceil_div


@lru_cache(maxsize=4096)
def flash1_num_splits(batch_heads: int, slots: int, num_steps: int) -> int:
    """FlashAttention-1's `num_splits_heuristic_fwd` (`fmha_fwd_launch_template.h`): query splits.

    The smallest count whose wave efficiency is above 95 % of the best, of at most 30 and of the
    16-row steps of a head. (The source means the latter, but writes `seqlen_q + M - 1 / M`.)

    The comment in the source: 48 heads on 108 SMs, 2 splits (0.89) are better than 3 (0.67).

    >>> flash1_num_splits(48, 108, 3)
    2
    """
    splits = np.arange(1, min(30, num_steps) + 1)
    efficiency = _wave_efficiency(batch_heads * splits, slots)
    return int(splits[np.argmax(efficiency > 0.95 * efficiency.max())])


@lru_cache(maxsize=4096)
def flash2_num_splits(total_m_blocks: int, slots: int, num_n_blocks: int, limit: int = 128) -> int:
    """FlashAttention-2's `num_splits_heuristic` (`flash_api.cpp`).

    One split if the tiles fill 80 % of the slots. Else, of the split counts that change the blocks
    per split, the smallest whose wave efficiency (T·s/slots over its ceiling) reaches 85 % of the
    best.
    `slots` is 2·SMs, hard-coded there for CTAs of 128 threads, whether or not two fit.

    Llama-3 8B decode at 32k on an A100 (T = 8 KV heads, 216 slots, 256 blocks):

    >>> flash2_num_splits(8, 216, 256)
    24
    """
    if total_m_blocks >= 0.8 * slots:
        return 1
    splits = np.arange(1, min(limit, slots, num_n_blocks) + 1)
    per_split = -(-num_n_blocks // splits)
    eligible = np.ones(len(splits), dtype=bool)
    eligible[1:] = per_split[1:] != per_split[:-1]
    efficiency = np.where(eligible, _wave_efficiency(total_m_blocks * splits, slots), 0.0)
    return int(splits[np.argmax(efficiency >= 0.85 * efficiency.max())])


#: KV bytes of one head above which FlashAttention-3 splits although the SMs are full: they would
#: not stay in L2 while all its query tiles walk them (`hopper/heuristics.h`).
FLASH3_L2_BYTES = 50 * 1024 * 1024


@lru_cache(maxsize=4096)
def flash3_num_splits(
    total_m_blocks: int,
    num_sms: int,
    num_n_blocks: int,
    *,
    num_m_blocks: int = 1,
    kv_head_bytes: float = 0.0,
    masked: bool = True,
    limit: int = 128,
) -> int:
    """FlashAttention-3's `num_splits_heuristic` (`hopper/heuristics.h`).

    One split if the tiles fill 80 % of the SMs, unless one KV head is larger than L2 and nothing is
    masked; one if there are at most 4 KV blocks. Else the smallest split count whose wave
    efficiency reaches 85 % of the best. Unlike FlashAttention-2, the capacity is one CTA an SM, and
    counts that leave the blocks per split unchanged are not skipped.

    The comment in the source: 48 tiles on 108 SMs, 2 splits (0.89) are better than 3 (0.67).

    >>> flash3_num_splits(48, 108, 64)
    2
    """
    if total_m_blocks >= 0.8 * num_sms:
        large = kv_head_bytes > FLASH3_L2_BYTES and num_m_blocks >= 2 * num_sms
        if large and not masked:
            return min(ceil_div(int(kv_head_bytes), FLASH3_L2_BYTES), limit)
        return 1
    if num_n_blocks <= 4:
        return 1
    splits = np.arange(1, min(limit, num_sms, num_n_blocks) + 1)
    efficiency = _wave_efficiency(total_m_blocks * splits, num_sms)
    return int(splits[np.argmax(efficiency >= 0.85 * efficiency.max())])


def _wave_efficiency(ctas: Ints, slots: int) -> Floats:
    """Share of the slots of all waves, the last included, that get a CTA."""
    waves = ctas / slots
    return np.asarray(waves / np.ceil(waves))
