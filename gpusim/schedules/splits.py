"""How many parts a kernel cuts the KV range of one output into."""

import numpy as np


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
    eligible = np.r_[True, per_split[1:] != per_split[:-1]]
    waves = total_m_blocks * splits / slots
    efficiency = np.where(eligible, waves / np.ceil(waves), 0.0)
    return int(splits[np.argmax(efficiency >= 0.85 * efficiency.max())])
