"""Grids that always have room for the most splits, whatever a sequence needs (Triton decode)."""

from dataclasses import fields, replace

import numpy as np

from gpusim.schedules.work import Tiles, Work
from gpusim.spec.attention import Attention
from gpusim.spec.kernel import Kernel
from gpusim.units import ceil_div, round_up

#: Calibrated on aiconfigurator SGLang 0.5.14 rows, H100, batches of 512 and more: a CTA without
#: keys ends after this share of `cta.latency_ns`, which counts as so many fewer CTAs.
IDLE_SHARE = 0.3


def with_used_splits(kernel: Kernel, attention: Attention, unit: int) -> Kernel:
    """The kernel with the splits that get keys, each of them a multiple of `unit`.

    512 keys in 7 splits of 32-key blocks: 74 are 96, which 6 splits take.
    """
    longest = max(s.kv_len for s in attention.sequences)
    size = round_up(ceil_div(longest, kernel.num_splits), unit)
    return kernel.model_copy(update={"num_splits": ceil_div(longest, size)})


def with_idle(work: Work, idle: int) -> Work:
    """The work with so many more CTAs for each output, which find nothing to do and end at once."""
    added = round(IDLE_SHARE * idle)
    if not added:
        return work
    ends = np.repeat(np.cumsum(work.group_rows), added)
    columns = {f.name: getattr(work.tiles, f.name) for f in fields(work.tiles)}
    tiles = Tiles(**{name: np.insert(column, ends, 0) for name, column in columns.items()})
    rows = work.group_rows + added
    return replace(work, tiles=tiles, group_first=np.cumsum(rows) - rows, group_rows=rows)
