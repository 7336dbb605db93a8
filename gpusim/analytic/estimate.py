"""What the closed form says of a launch: its time, and what its CTAs spend theirs on."""

from typing import NamedTuple

import numpy as np

from gpusim.machine.account import Timings
from gpusim.machine.placement import Placement
from gpusim.schedules.columns import Bools, Floats, Number


class Estimate(NamedTuple):
    """Time of a launch in us, and time of its CTAs by cause; or columns, an entry per launch.

    Attributes:
        time_us: from start to last end.
        loop_us, full_us, resident_us, full_resident_us: of main loops, see `Loops`.
        latency_us: starts and ends, summed over CTAs.
        all_latent_us: time on the clock in which no CTA is in its loop, but starts or ends.
        fix_up_us: waiting for peers and merging, summed over CTAs.
        all_fix_up_us: time on the clock in which those that are left wait or merge.
    """

    time_us: Number
    loop_us: Number
    full_us: Number
    resident_us: Number
    full_resident_us: Number
    latency_us: Number
    all_latent_us: Number
    fix_up_us: Number
    all_fix_up_us: Number


def timings(found: Floats, placement: Placement, by_hbm: Bools) -> Timings:
    """Shares of the slots' time; lanes without a CTA before the end are the tail.

    Args:
        found: the numbers of an `Estimate` (first axis) of each launch, without `ramp_us`.
        placement: the launches.
        by_hbm: whether it is HBM, and not L2, that fills up first.
    """
    e, ramp, lanes = Estimate(*found), placement.ramp_us, placement.lanes
    time_us, latent = e.time_us + ramp, e.all_latent_us + ramp
    total, in_lanes = time_us * placement.slots, time_us * lanes
    latency = np.minimum(in_lanes, e.latency_us + lanes * ramp)
    fix_up = np.minimum(in_lanes - latency, e.fix_up_us)
    loop = np.minimum(in_lanes - latency - fix_up, e.resident_us)
    resident = latency + fix_up + loop
    looped = loop > 0
    full = np.where(looped, e.full_resident_us / np.where(looped, e.resident_us, 1.0), 0.0)
    limited = np.where(looped, e.full_us / np.where(looped, e.loop_us, 1.0), 0.0)
    merging = np.where(fix_up > 0, np.minimum(time_us, e.all_fix_up_us), 0.0)
    pace = np.maximum(0.0, time_us - latent - merging)
    return Timings(
        time_us=time_us,
        shares={
            "cta_latency": latency / total,
            "fix_up": fix_up / total,
            "step": loop * (1 - full) / total,
            "hbm": np.where(by_hbm, loop * full / total, 0.0),
            "l2": np.where(by_hbm, 0.0, loop * full / total),
            "unfilled": 1 - lanes / placement.slots,
            "tail": (in_lanes - resident) / total,
        },
        limited_us={
            "step": np.where(looped, pace * (1 - limited), 0.0),
            "hbm": np.where(by_hbm, pace * limited, 0.0),
            "l2": np.where(by_hbm, 0.0, pace * limited),
            "fix_up": merging,
        },
        resident_us=resident,
        sm_busy_us=np.minimum(lanes, placement.gpu.sm.count) * resident / lanes,
    )
