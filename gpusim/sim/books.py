"""What a run of one launch on the simulated machine adds up, and what an engine makes of it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from types import SimpleNamespace
from typing import Any

import numpy as np

from gpusim.machine.account import Timings
from gpusim.machine.placement import Placement


@dataclass(frozen=True, slots=True)
class Books:
    """Sums over a run, in us.

    Attributes:
        time_us: from the start to the last end.
        resident_us: of CTAs on slots.
        sm_busy_us: of SMs with a CTA.
        loop_us: of CTAs in their main loop; of it HBM or L2 answers for `full_hbm_us`,
            `full_l2_us`.
        limit_hbm_us, limit_l2_us, limit_step_us: time on the clock with CTAs in their loops, by
            what held them back.
        fix_up_us: of CTAs that waited for peers or merged.
        limit_fix_up_us: time on the clock in which only such were left.
    """

    time_us: float
    resident_us: float
    sm_busy_us: float
    loop_us: float
    full_hbm_us: float
    full_l2_us: float
    limit_hbm_us: float
    limit_l2_us: float
    limit_step_us: float
    fix_up_us: float = 0.0
    limit_fix_up_us: float = 0.0


def timings(books: Sequence[Books], placement: Placement) -> Timings:
    """Times of launches and their causes, as shares of the slots' time."""
    names = [field.name for field in fields(Books)]
    b: Any = SimpleNamespace(
        **{name: np.array([getattr(b, name) for b in books]) for name in names}
    )
    total = b.time_us * placement.slots
    unfilled = 1 - placement.lanes / placement.slots
    return Timings(
        time_us=b.time_us,
        shares={
            "cta_latency": (b.resident_us - b.loop_us - b.fix_up_us) / total,
            "fix_up": b.fix_up_us / total,
            "step": (b.loop_us - b.full_hbm_us - b.full_l2_us) / total,
            "hbm": b.full_hbm_us / total,
            "l2": b.full_l2_us / total,
            "unfilled": unfilled,
            "tail": np.maximum(0.0, 1 - unfilled - b.resident_us / total),
        },
        limited_us={
            "hbm": b.limit_hbm_us,
            "l2": b.limit_l2_us,
            "step": b.limit_step_us,
            "fix_up": b.limit_fix_up_us,
        },
        resident_us=b.resident_us,
        sm_busy_us=b.sm_busy_us,
    )
