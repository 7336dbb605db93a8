"""Rates per SM clock from what the CTAs of a launch stored: SM, clocks and ns at both ends.

The clock is the one that ticked while the kernel ran, whatever the board did with it meanwhile.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gpusim.units import NS_PER_US
from validation.timing import WARM_UPS

if TYPE_CHECKING:
    import torch

#: [CTAs, 5]: SM, first clock, last clock, first ns, last ns.
Stamps = NDArray[np.int64]
SM, FIRST_CLOCK, LAST_CLOCK, FIRST_NS, LAST_NS = range(5)

#: Clocks that a stamped kernel should run: about 1 ms, a thousand ticks of the slowest ns timer.
CLOCKS = 2e6


def clock_mhz(stamps: Stamps) -> float:
    """SM clock: median over CTAs of clocks by us."""
    us = (stamps[:, LAST_NS] - stamps[:, FIRST_NS]) / NS_PER_US
    return float(np.median((stamps[:, LAST_CLOCK] - stamps[:, FIRST_CLOCK]) / us))


def per_sm_per_clock(stamps: Stamps, work_per_cta: float) -> float:
    """Work per clock of an SM: median over SMs of its CTAs' work by first start to last end."""
    rates = []
    for sm in np.unique(stamps[:, SM]):
        own = stamps[stamps[:, SM] == sm]
        clocks = own[:, LAST_CLOCK].max() - own[:, FIRST_CLOCK].min()
        rates.append(len(own) * work_per_cta / clocks)
    return float(np.median(rates))


def per_clock(stamps: Stamps, work: float) -> float:
    """Work of the whole launch per SM clock, from its first start to its last end."""
    ns = stamps[:, LAST_NS].max() - stamps[:, FIRST_NS].min()
    return float(work / (ns / NS_PER_US * clock_mhz(stamps)))


def turns(work_per_turn: float, rate_per_clock: float) -> int:
    """Turns of a loop that last CLOCKS at an expected rate.

    >>> turns(1000, 50)
    100000
    """
    return max(1, round(CLOCKS * rate_per_clock / work_per_turn))


def stamped(launch: Callable[["torch.Tensor"], None], ctas: int, repeats: int) -> list[Stamps]:
    """Launch a kernel of so many CTAs, after a warm-up, and return the stamps of each launch."""
    import torch

    stamps = torch.zeros(WARM_UPS + repeats, ctas, 5, dtype=torch.int64, device="cuda")
    for one in stamps:
        launch(one)
    return list(stamps[WARM_UPS:].cpu().numpy())
