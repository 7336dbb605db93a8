"""What a run of one launch on the simulated machine adds up, and what an engine makes of it."""

from dataclasses import dataclass

from gpusim.machine.account import Timing
from gpusim.machine.place import Placed


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

    def timing(self, placed: Placed) -> Timing:
        """Time and its causes, as shares of the slots' time."""
        total = self.time_us * placed.slots
        unfilled = 1 - placed.lanes / placed.slots
        shares = {
            "cta_latency": (self.resident_us - self.loop_us - self.fix_up_us) / total,
            "fix_up": self.fix_up_us / total,
            "step": (self.loop_us - self.full_hbm_us - self.full_l2_us) / total,
            "hbm": self.full_hbm_us / total,
            "l2": self.full_l2_us / total,
            "unfilled": unfilled,
            "tail": max(0.0, 1 - unfilled - self.resident_us / total),
        }
        limited = {
            "hbm": self.limit_hbm_us,
            "l2": self.limit_l2_us,
            "step": self.limit_step_us,
            "fix_up": self.limit_fix_up_us,
        }
        return Timing(
            time_us=self.time_us,
            shares=shares,
            limited_us=limited,
            resident_us=self.resident_us,
            sm_busy_us=self.sm_busy_us,
        )
