"""Where kernels run and what times them: the CUDA GPU at hand, or what a test puts in its place."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread, Timer

import torch

from validation.measuring.cases import L2, Case
from validation.measuring.estimate import MIN_MS, REPEATS
from validation.measuring.launching import Call
from validation.microbench.device import Device, smi
from validation.timing import Timing, time_call

#: A shape takes seconds; a kernel that waits for itself would take for ever.
PATIENCE_S = 180.0


class GpuLostError(Exception):
    """The GPU answers no more; whatever this process launches now fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A machine.

    Attributes:
        device: what the source of a row says of it.
        place: Torch's name for where tensors live.
        time: a call's time, with L2 warm or cold.
        clock: the SM clock now, with its unit.
        settle: free what was used; raises `GpuLostError`.
    """

    device: Device
    place: str
    time: Callable[[Call, L2], Timing]
    clock: Callable[[], str]
    settle: Callable[[], None]

    def timed(self, call: Call, l2: L2) -> tuple[Timing, str]:
        """Time of a call, and the SM clock, read once meanwhile."""
        clocks: list[str] = []
        reader = Thread(target=lambda: clocks.append(self.clock()))
        reader.start()
        try:
            timing = self.time(call, l2)
        finally:
            reader.join()
        return timing, " ".join(clocks[0].split()) if clocks else "unknown"


def cuda_bench(device: Device) -> Bench:
    """The CUDA GPU at hand."""
    return Bench(
        device=device,
        place="cuda",
        time=lambda call, l2: time_call(call, l2=l2, min_ms=MIN_MS, repeats=REPEATS),
        clock=lambda: smi("clocks.sm"),
        settle=_settle,
    )


def _settle() -> None:
    try:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
    except RuntimeError as error:
        raise GpuLostError(str(error).partition("\n")[0]) from error


@contextmanager
def patience(case: Case, seconds: float = PATIENCE_S) -> Iterator[None]:
    """End the process, which cannot be interrupted while it waits for the GPU, after a while.

    Rows written so far are on the disk.
    """

    def give_up() -> None:
        lengths = case.attention.sequences[0]
        print(
            f"measure: {case.kernel} gave no result in {seconds:g} s, {case.phase} of"
            f" {lengths.count} x {lengths.q_len} queries on {lengths.kv_len} keys; rows before it"
            " are kept, --kernel takes the other kernels",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)

    timer = Timer(seconds, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
