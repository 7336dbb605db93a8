"""A process of its own for each kernel: what one breaks, or waits for, is no other's.

An error on the GPU makes every later call of its process fail, and a kernel that waits for itself
never returns; both end with the process.
"""

import multiprocessing
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from typing import Protocol

from validation.failure import reason
from validation.measuring.cases import Case
from validation.measuring.reply import Failed, Reply

Measure = Callable[[Case], Reply]
#: A shape takes seconds, with its check and compiling; importing Torch from a cold disk a minute.
PATIENCE_S, START_S = 40.0, 120.0
#: A killed process leaves the GPU within a second or so.
DEATH_S = 20.0


class Worker(Protocol):
    """Measures cases of one kernel."""

    def failed_to_begin(self) -> Failed | None:
        """Wait until it can measure; why it cannot."""

    def measure(self, case: Case) -> Reply:
        """What became of a case."""

    def close(self) -> bool:
        """End it; whether it has gone, and left the GPU to others."""


class Process:
    """A worker in a process that begins at once and is killed in the end."""

    def __init__(self, make: Callable[[], Measure], *, patience_s: float = PATIENCE_S) -> None:
        """Begin; `make` is called there, so it must be importable."""
        context = multiprocessing.get_context("spawn")
        self._patience_s, self._start_by = patience_s, time.monotonic() + START_S
        self._own, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, make), daemon=True)
        self._process.start()
        theirs.close()

    def failed_to_begin(self) -> Failed | None:
        """A failure if the process ends, or is not ready START_S after it began."""
        left_s = max(0.0, self._start_by - time.monotonic())
        reply = self._received(left_s, f"was not ready after {START_S:g} s")
        return reply if isinstance(reply, Failed) else None

    def measure(self, case: Case) -> Reply:
        """What became of a case: a failure too if the process ends, or nothing comes for long."""
        try:
            self._own.send(case)
        except OSError:
            return self._ended()
        late = f"gave no result in {self._patience_s:g} s"
        reply = self._received(self._patience_s, late)
        return Failed("gave no result") if reply is None else reply

    def close(self) -> bool:
        """Kill it; whether it has gone."""
        self._own.close()
        self._process.kill()
        self._process.join(DEATH_S)
        return not self._process.is_alive()

    def _received(self, seconds: float, late: str) -> Reply | None:
        try:
            if not self._own.poll(seconds):
                return Failed(late)
            reply: Reply | None = self._own.recv()
        except (EOFError, OSError):
            return self._ended()
        return reply

    def _ended(self) -> Failed:
        self._process.join(DEATH_S)
        return Failed(f"its process ended with exit code {self._process.exitcode}")


def serve(connection: Connection, make: Callable[[], Measure]) -> None:
    """In the process: None once it is ready, then a reply to each case, until nobody asks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the keyboard's is the parent's, which ends this
    made: list[Measure] = []
    connection.send(guarded(lambda: made.append(make())))
    with suppress(EOFError, OSError):  # the parent has gone
        while made:
            connection.send(guarded(partial(made[0], connection.recv())))


def guarded(work: Callable[[], Reply | None]) -> Reply | None:
    """Whatever goes wrong is the kernel's failure: the run goes on without it."""
    try:
        return work()
    except Exception as error:
        return Failed(reason(error))
