"""From a replica's curve to a number of replicas, so that looser targets never need more.

Latencies are read off the running maximum of the curve's points, linear between them. Points do not
depend on the targets, and a looser target meets such a curve at no lower rate.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpusim.spec.plan import Targets
from gpusim.study.serving_curve import Point

#: Share of the time in which the head of the queue waits for something that makes it the cause.
MATTERS = 0.05
#: The same, of any cause, from which on a replica has more to do than it can.
SATURATED = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """A target that is missed even at the lowest rate of the curve; `over` = found / limit - 1."""

    target: str
    limit_ms: float
    found_ms: float
    over: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizing:
    """What one replica holds, and how many are needed.

    Attributes:
        limits_rps: highest rate by 'ttft', 'tpot' and 'throughput' (what is served if more comes:
            `_throughput`).
        goodput_rps: the least of them; `binds` is its name.
        because: what the head of the queue waits for there ('kv_capacity', 'max_sequences'), or
            'step_time'.
        missed: targets that no rate keeps; then there are no replicas.
        replicas_exact: before rounding up.
    """

    limits_rps: dict[str, float]
    goodput_rps: float
    binds: str
    because: str
    missed: tuple[Missed, ...]
    replicas: int | None
    replicas_exact: float | None


def size(
    points: Sequence[Point],
    rate_rps: float,
    targets: Targets,
    headroom: float,
    *,
    step_factor: float = 1.0,
) -> Sizing:
    """Replicas that hold the targets for a rate and its headroom.

    Args:
        points: the curve, by rate.
        rate_rps: of all replicas together.
        targets: latencies to hold.
        headroom: share of the rate that is kept free.
        step_factor: as if every step took this much longer. A run whose times and gaps between
            arrivals all grow alike is the same run, so that no other curve is needed for it.
    """
    limits = {"ttft": targets.ttft_ms / step_factor, "tpot": targets.tpot_ms / step_factor}
    found = {name: [getattr(point, f"{name}_ms")["target"] for point in points] for name in limits}
    rates = [point.rate_rps for point in points]
    missed = tuple(
        Missed(
            target=name,
            limit_ms=limit * step_factor,
            found_ms=found[name][0] * step_factor,
            over=found[name][0] / limit - 1,
        )
        for name, limit in limits.items()
        if found[name][0] > limit
    )
    rps = {name: highest_rate(rates, found[name], limit) for name, limit in limits.items()}
    rps["throughput"] = _throughput(points)
    rps = {name: rate / step_factor for name, rate in rps.items()}
    binds = min(rps, key=lambda name: rps[name])
    goodput = rps[binds]
    exact = None if missed else rate_rps * (1 + headroom) / goodput
    return Sizing(
        limits_rps=rps,
        goodput_rps=goodput,
        binds=binds,
        because=_because(points, goodput * step_factor),
        missed=missed,
        replicas=None if exact is None else max(1, math.ceil(exact - 1e-9)),
        replicas_exact=exact,
    )


def _throughput(points: Sequence[Point]) -> float:
    """The most that a point serves; where the run ends before any is saturated, no less than the
    estimated capacity, which the points' rates are shares of.

    A point is saturated if the head of its queue waits most of the time. While its batch fills it
    serves less, so that runs of few requests say somewhat too little.
    """
    served = max(point.served_rps for point in points)
    if any(sum(point.waiting_fraction.values()) >= SATURATED for point in points):
        return served
    return max(served, points[-1].rate_rps / points[-1].load)


def highest_rate(rates: Sequence[float], latencies: Sequence[float], limit: float) -> float:
    """The rate at which the running maximum of latencies reaches a limit.

    0 if the first is above it; the last rate if none is.

    >>> highest_rate([1.0, 2.0, 3.0], [10.0, 8.0, 30.0], 20.0)
    2.5
    """
    risen = np.maximum.accumulate(latencies)
    if risen[0] > limit:
        return 0.0
    above = int(np.searchsorted(risen, limit, side="right"))
    if above == len(risen):
        return float(rates[-1])
    share = (limit - risen[above - 1]) / (risen[above] - risen[above - 1])
    return float(rates[above - 1] + share * (rates[above] - rates[above - 1]))


def _because(points: Sequence[Point], goodput: float) -> str:
    """What the queue waits for most at the first point that is not below the goodput."""
    at = next((point for point in points if point.rate_rps >= goodput), points[-1])
    waits = {name: at.waiting_fraction[name] for name in ("kv_capacity", "max_sequences")}
    most = max(waits, key=lambda name: waits[name])
    return most if waits[most] >= MATTERS else "step_time"
