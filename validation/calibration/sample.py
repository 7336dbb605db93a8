"""A spread of a GPU's measured rows: a few of every kernel, phase and batch."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gpusim.study.measured import MeasuredRow

#: Datasets by the profile that is fitted to them.
DATASETS = {
    "a100_sxm_80gb": ("aiconfigurator:a100_sxm/sglang", "aiconfigurator:a100_sxm/vllm"),
    "h100_sxm": ("aiconfigurator:h100_sxm/sglang",),
    "l40s": ("aiconfigurator:l40s/vllm",),
}
#: Of all kernels these count best what they do; the others' own constants are not the GPU's. Each
#: with the types that it is fitted on: FlashInfer is there for another step on the same silicon.
WIDE = frozenset(("fp16", "bf16"))
KERNELS = {
    "sglang_0_5_10_flash_attn_3": WIDE,
    "sglang_flash_attn_3": WIDE,
    "vllm_0_14_flash_attn_2": WIDE,
    "vllm_flash_attn_2": WIDE,
    "flashinfer": WIDE | {"fp8"},
}
#: Digits of a measured time: measurements repeat to a per cent.
DIGITS = 5


def is_wanted(row: MeasuredRow) -> bool:
    """Whether a row's kernel and types, of the cache too, are among those."""
    return {row.attention.dtype, row.attention.cache_dtype} <= KERNELS.get(row.kernel, frozenset())


def spread(rows: Sequence[MeasuredRow], count: int, seed: int) -> list[MeasuredRow]:
    """About `count` rows, equally many of each kernel, phase and batch.

    Head sizes and windows come as often as in the tables. Groups of fewer rows give all they have.
    Rows keep their order.

    Args:
        rows: rows of one GPU.
        count: rows in all.
        seed: of the draw.
    """
    groups: dict[tuple[str, str, int], list[int]] = {}
    for i, row in enumerate(rows):
        key = (row.kernel, row.phase, row.attention.sequences[0].count)
        groups.setdefault(key, []).append(i)
    draw = np.random.default_rng(seed)
    each = max(1, round(count / max(1, len(groups))))
    chosen = [
        int(i)
        for _, group in sorted(groups.items())
        for i in draw.choice(group, min(each, len(group)), replace=False)
    ]
    return [rows[i] for i in sorted(chosen)]


def recorded(row: MeasuredRow) -> MeasuredRow:
    """The row as a file has it: its time in few digits."""
    return replace(row, measured_us=float(f"{row.measured_us:.{DIGITS}g}"))
