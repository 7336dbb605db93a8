"""In the place of a GPU: a board, cases that no kernel has to run, and what may go wrong in them.

Processes of their own import this: it needs neither Torch nor Triton.
"""

import os
import sys
import time
from collections.abc import Callable
from functools import partial

from validation.device import Device
from validation.measuring.cases import Case
from validation.measuring.reply import Measured, Reply
from validation.measuring.worker import Measure, guarded
from validation.progress import Telling

DEVICE = Device(
    name="NVIDIA H200",
    num_sms=132,
    driver="570.1",
    day="2026-11-20",
    torch="2.11.0",
    triton="3.6.0",
)
SILENT = Telling(begin=lambda _: None, say=lambda _: None)


class Here:
    """A worker without a process."""

    def __init__(self, measure: Measure) -> None:
        """Measure like this."""
        self.measured_by = measure

    def failed_to_begin(self) -> None:
        """It never does."""

    def measure(self, case: Case) -> Reply:
        """As a process does."""
        reply = guarded(partial(self.measured_by, case))
        assert reply is not None
        return reply

    def close(self) -> bool:
        """It has gone."""
        return True


def made(*, bad: str, how: str) -> Measure:
    """Gives every case 5 us; what a case of the bad kernel does is one of `BAD`."""

    def measure(case: Case) -> Reply:
        if case.kernel == bad:
            BAD[how]()
        return Measured(measured_us=5.0, source=f"process {os.getpid()}")

    if how == "begins badly":
        raise ImportError("no module of this kind")
    return measure


def _raise() -> None:
    raise KeyError("at 3:4:\n    x = y\n\ny is not defined\n")


BAD: dict[str, Callable[[], object]] = {
    "raises": _raise,
    "hangs": partial(time.sleep, 600),
    "kills its process": partial(os._exit, 9),
    "exits": partial(sys.exit, 3),
}
