"""Where kernels run and what times them: the CUDA GPU at hand, or what a test puts in its place."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from validation.device import Device
from validation.measuring.cases import L2
from validation.measuring.estimate import MIN_MS, REPEATS
from validation.measuring.launching import Call
from validation.sm_clock import SmClock
from validation.timing import Timing, time_call


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A machine.

    Attributes:
        device: what the source of a row says of it.
        place: Torch's name for where tensors live.
        time: a call's time, with L2 warm or cold, and the SM clock meanwhile in words.
        settle: free what was used; raises if the GPU answers no more.
    """

    device: Device
    place: str
    time: Callable[[Call, L2], tuple[Timing, str]]
    settle: Callable[[], None]


def cuda_bench(device: Device) -> Bench:
    """The CUDA GPU at hand, awake."""
    _settle()
    board = torch.cuda.get_device_properties(torch.cuda.current_device())
    clock = SmClock(f"GPU-{board.uuid}")

    def timed(call: Call, l2: L2) -> tuple[Timing, str]:
        read: list[int | None] = []
        timing = time_call(
            call,
            l2=l2,
            min_ms=MIN_MS,
            repeats=REPEATS,
            meanwhile=lambda: read.append(clock.mhz()),
        )
        return timing, "unknown" if read[0] is None else f"{read[0]} MHz (NVML, last sample)"

    return Bench(device=device, place="cuda", time=timed, settle=_settle)


def _settle() -> None:
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
