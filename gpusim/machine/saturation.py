"""How CTAs slow down as they ask for more of a memory level than it gives."""

from math import sqrt
from typing import TypeVar

import numpy as np

from gpusim.schedules.columns import Floats

One = TypeVar("One", float, Floats)


def stretch(load: float) -> float:
    """Time of CTAs that ask `load` times what memory gives, over their time alone.

        stretch = (1 + load⁴)^(1/4)

    Requests come in bursts, so that queues form before the average demand reaches the limit; far
    beyond it, memory alone sets the pace. Of the exponents 2, 3, 4, 8 and a hard limit, 3 and 4 fit
    measured attention best on A100, H100 and L40S alike, decode and prompts, with all other
    constants fitted anew.

    >>> [round(stretch(x), 3) for x in (0.0, 0.5, 1.0, 2.0, 10.0)]
    [1.0, 1.015, 1.189, 2.031, 10.0]
    """
    square = load * load
    return sqrt(sqrt(1 + square * square))


def stretches(loads: Floats) -> Floats:
    """`stretch` of a column.

    >>> (stretches(np.array([0.5, 2.0])) == [stretch(0.5), stretch(2.0)]).tolist()
    [True, True]
    """
    squares = loads * loads
    slower: Floats = np.sqrt(np.sqrt(1 + squares * squares))
    return slower


def memory_share(load: One) -> One:
    """Share of such CTAs' time that memory has to answer for: load⁴ / (1 + load⁴). Takes columns.

    >>> [round(memory_share(x), 3) for x in (0.0, 0.5, 1.0, 2.0, 10.0)]
    [0.0, 0.059, 0.5, 0.941, 1.0]
    """
    square = load * load
    return 1 - 1 / (1 + square * square)
