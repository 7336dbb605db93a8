"""Runs one launch in the fastest way that says all that is asked for."""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import FunctionType
from typing import Any

import numpy as np

from gpusim.machine.placed import Placed
from gpusim.schedules.columns import Ints
from gpusim.sim import loop
from gpusim.sim.books import Books
from gpusim.sim.dispatch import Dispatch, dispatch
from gpusim.sim.launch_run import no_room

#: Batches that a process runs in the interpreter before it has the loop compiled: that takes about
#: as long (4 us a batch, 4 s for the compiler).
COMPILE_AFTER = 1_000_000

_interpreted = 0


def run_launch(placed: Placed, *, merge: bool) -> Books:
    """Run a launch, untraced: in one loop, traced ones as processes of an event queue.

    Numba compiles the loop where it is installed (extra `fast`) and much is simulated; results are
    the same to the last digit.

    Raises:
        SpecError: if CTAs that wait for others leave them no slot to run on.
    """
    global _interpreted
    work = dispatch(placed, merge=merge)
    columns, numbers = (*_columns(work), *_waits(placed, work), placed.rates), _numbers(placed)
    if _interpreted >= COMPILE_AFTER and _can_compile():
        sums, stuck = compiled_loop()(*columns, *numbers)
    else:
        _interpreted += len(work.row)
        sums, stuck = loop.run_loop(*(column.tolist() for column in columns), *numbers)
    if stuck:
        raise no_room(placed)
    return Books(*sums)


@cache
def _can_compile() -> bool:
    return find_spec("numba") is not None


@cache
def compiled_loop() -> Callable[..., loop.Sums]:
    """The loop, compiled, with the functions that it calls."""
    njit: Any = import_module("numba").njit
    names = dict(vars(loop))
    for name in ("stretch", "memory_share", "go_on"):
        names[name] = njit(names[name])
    compiled: Callable[..., loop.Sums] = njit(FunctionType(loop.run_loop.__code__, names))
    return compiled


def _columns(work: Dispatch) -> tuple[Any, ...]:
    return work.steps, work.hbm_step, work.l2_step, work.row, work.count, work.cta_first


def _waits(placed: Placed, work: Dispatch) -> tuple[Ints, Ints]:
    """Worker and peers of every batch; empty where nobody waits."""
    peers = placed.launch.work.peers
    if peers is None:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    batches = np.diff(work.cta_first)
    return np.repeat(np.arange(len(batches)), batches), peers[work.row]


def _numbers(placed: Placed) -> tuple[Any, ...]:
    return (
        0 if placed.launch.work.peers is None else placed.launch.num_ctas,
        placed.lanes,
        placed.num_sms,
        placed.latency_us,
        placed.ramp_us,
        placed.merge_us,
        placed.hbm_bandwidth,
        placed.l2_bandwidth,
    )
