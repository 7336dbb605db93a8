"""What a closed form says of a launch: its time, and what its CTAs spend theirs on."""

from dataclasses import dataclass, replace

from gpusim.analytic.loops import Loops
from gpusim.machine.account import Timing
from gpusim.machine.place import Placed


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Time of a launch, and time of its CTAs by cause.

    Attributes:
        time_us: from start to last end.
        loops: in the main loop; the part in which memory is full counts as `level`.
        level: 'hbm' or 'l2', which of them fills up first.
        latency_us: starts and ends, summed over CTAs.
        all_latent_us: time on the clock in which no CTA is in its loop, but starts or ends.
        fix_up_us: waiting for peers and merging, summed over CTAs.
        all_fix_up_us: time on the clock in which those that are left wait or merge.
    """

    time_us: float
    loops: Loops
    level: str
    latency_us: float
    all_latent_us: float
    fix_up_us: float = 0.0
    all_fix_up_us: float = 0.0

    def after(self, ramp_us: float, lanes: int) -> "Estimate":
        """The same with so much more time before all lanes' loops."""
        return replace(
            self,
            time_us=self.time_us + ramp_us,
            latency_us=self.latency_us + lanes * ramp_us,
            all_latent_us=self.all_latent_us + ramp_us,
        )

    def timing(self, placed: Placed) -> Timing:
        """Shares of the slots' time; lanes without a CTA before the end are the tail."""
        total, lanes = self.time_us * placed.slots, self.time_us * placed.lanes
        latency = min(lanes, self.latency_us)
        fix_up = min(lanes - latency, self.fix_up_us)
        loop = min(lanes - latency - fix_up, self.loops.resident_us)
        resident = latency + fix_up + loop
        full = self.loops.full_resident_us / self.loops.resident_us if loop else 0.0
        merging = min(self.time_us, self.all_fix_up_us) if fix_up else 0.0
        pace = max(0.0, self.time_us - self.all_latent_us - merging)
        limited = self.loops.full_us / self.loops.time_us if loop else 0.0
        return Timing(
            time_us=self.time_us,
            shares={
                "cta_latency": latency / total,
                "fix_up": fix_up / total,
                "step": loop * (1 - full) / total,
                self.level: loop * full / total,
                "unfilled": 1 - placed.lanes / placed.slots,
                "tail": (lanes - resident) / total,
            },
            limited_us={
                "step": pace * (1 - limited) if loop else 0.0,
                self.level: pace * limited,
                "fix_up": merging,
            },
            resident_us=resident,
            sm_busy_us=min(placed.lanes, placed.num_sms) * resident / placed.lanes,
        )
