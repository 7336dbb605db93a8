"""Runs one launch in the fastest way that says all that is asked for."""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import FunctionType
from typing import Any

import numpy as np

from gpusim.machine.placed import Placed
from gpusim.sim import loop
from gpusim.sim.books import Books
from gpusim.sim.dispatch import Dispatch, dispatch
from gpusim.sim.launch_run import LaunchRun

#: Batches that a process runs in the interpreter before it has the loop compiled: that takes about
#: as long (4 us a batch, 4 s for the compiler).
COMPILE_AFTER = 1_000_000

_interpreted = 0


def run_launch(placed: Placed, *, merge: bool) -> Books:
    """Run a launch, untraced.

    CTAs that wait for one another are processes of an event queue, all others one loop. Numba
    compiles that where it is installed (extra `fast`) and much is simulated; results are the same
    to the last digit.

    Raises:
        SpecError: if CTAs that wait for others leave them no slot to run on.
    """
    global _interpreted
    if placed.launch.work.peers is not None:
        queue = LaunchRun(placed, merge=merge, trace=False)
        queue.execute()
        return queue.books()
    work = dispatch(placed, merge=merge)
    if _interpreted >= COMPILE_AFTER and _can_compile():
        return Books(*compiled_loop()(*_columns(work), *_machine(placed)))
    _interpreted += len(work.row)
    rate, *rest = _machine(placed)
    lists = (column.tolist() for column in (*_columns(work), rate))
    return Books(*loop.run_loop(*lists, *rest))


@cache
def _can_compile() -> bool:
    return find_spec("numba") is not None


@cache
def compiled_loop() -> Callable[..., loop.Sums]:
    """The loop, compiled, with the functions that it calls."""
    njit: Any = import_module("numba").njit
    names = dict(vars(loop))
    for name in ("stretch", "memory_share"):
        names[name] = njit(names[name])
    compiled: Callable[..., loop.Sums] = njit(FunctionType(loop.run_loop.__code__, names))
    return compiled


def _columns(work: Dispatch) -> tuple[Any, ...]:
    return work.steps, work.hbm_step, work.l2_step, work.row, work.count, work.cta_first


def _machine(placed: Placed) -> tuple[Any, ...]:
    per_sm = placed.occupancy.ctas_per_sm
    return (
        np.array([0.0, *(placed.rate(n) for n in range(1, per_sm + 1))]),
        placed.lanes,
        placed.num_sms,
        placed.latency_us,
        placed.ramp_us,
        placed.hbm_bandwidth,
        placed.l2_bandwidth,
    )
