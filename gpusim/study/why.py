"""Why one schedule takes longer than another on the same GPU, from the numbers of the results.

The time of a call is split by reason: share x time of each cause in each launch, the launch gaps,
and a combine as a whole. The reason that grew most against the best names the loss; the numbers
behind it are the evidence.
"""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

from gpusim.result import LaunchResult, Result
from gpusim.schedules.step import Pipe

COMBINE = "combine"
PIPES = tuple(pipe.value for pipe in Pipe)
MEMORY = ("hbm", "l2")
LATENCY = ("cta_latency", "load_latency")
#: Causes that are one reason: pipes share one chain of work, and both latencies are waiting.
_MERGED = {**dict.fromkeys(PIPES, "pipes"), **dict.fromkeys(LATENCY, "latency")}
#: A pipe this busy holds a kernel back; below, its work is exposed to what it depends on.
FULL = 0.7
#: A difference that nobody would measure.
SAME = 1e-3


@dataclass(frozen=True, slots=True)
class _Loss:
    """A reason, and the time that a schedule loses by it against the best."""

    result: Result
    best: Result
    reason: str
    excess_us: float

    @property
    def both(self) -> tuple[Result, Result]:
        return self.result, self.best

    def explained_by(self, mine: float, theirs: float) -> bool:
        """Whether a count that time is proportional to explains half of what is lost."""
        spent = _times(self.result)[self.reason]
        lost = min(self.excess_us, self.result.time_us - self.best.time_us)
        return mine > theirs and spent * (1 - theirs / mine) > lost / 2


def why(result: Result, best: Result) -> str:
    """One line on what makes `result` slower than `best`; empty for the best itself."""
    if result is best:
        return ""
    if result.time_us <= best.time_us * (1 + SAME):
        return "as fast as the best"
    theirs = _times(best)
    excess = {name: us - theirs[name] for name, us in _times(result).items()}
    lost = result.time_us - best.time_us
    first, second, *_ = sorted(excess, key=lambda name: -excess[name])
    if first == "pipes" and excess[second] > lost / 2 and not _more_work(result, best):
        first = second  # the same work, which the best hides behind memory
    loss = _Loss(result, best, first, excess[first])
    part = min(1.0, loss.excess_us / lost)
    return f"{_EVIDENCE.get(first, _waiting)(loss)}; {part:.0%} of the loss"


def _more_work(result: Result, best: Result) -> bool:
    """Whether a pipe is busy for notably longer than in the best."""
    mine, theirs = (
        {p: sum(la.time_us * la.pipe_utilisation.get(p, 0.0) for la in r.launches) for p in PIPES}
        for r in (result, best)
    )
    return any(mine[pipe] > 1.1 * theirs[pipe] for pipe in PIPES)


def _times(result: Result) -> dict[str, float]:
    """Time of a call by reason, in us.

    A slot that is not filled costs nothing while the others saturate a memory level.
    """
    times: dict[str, float] = defaultdict(float)
    for launch in result.launches:
        if launch.name == COMBINE:
            times[COMBINE] += launch.gap_us + launch.time_us
            continue
        times["launch"] += launch.gap_us
        filled = 1 - launch.breakdown.get("unfilled", 0.0)
        for cause, share in launch.breakdown.items():
            us = share * launch.time_us
            if cause in MEMORY:
                times["unfilled"] -= us / filled - us
                us /= filled
            times[_MERGED.get(cause, cause)] += us
    return times


def _launch(result: Result, cause: str) -> LaunchResult:
    """The launch that spends most time on a cause; a combine is a reason of its own."""
    launches = [la for la in result.launches if la.name != COMBINE]
    return max(launches, key=lambda la: la.time_us * la.breakdown.get(cause, 0.0))


def _share(result: Result, causes: Collection[str]) -> float:
    """Share of a call that these causes take."""
    return sum(result.breakdown.get(cause, 0.0) for cause in causes)


def _tail(loss: _Loss) -> str:
    launch = _launch(loss.result, "tail")
    idle = launch.breakdown["tail"]
    return f"tail: {idle:.0%} of the slots idle while the last CTAs run ({launch.waves:.2f} waves)"


def _unfilled(loss: _Loss) -> str:
    launch = _launch(loss.result, "unfilled")
    ctas = "1 CTA" if launch.ctas == 1 else f"{launch.ctas} CTAs"
    return f"unfilled: only {ctas} for {launch.ctas / launch.waves:.0f} slots"


def _combine(loss: _Loss) -> str:
    mine, theirs = (_times(result)[COMBINE] for result in loss.both)
    if theirs:
        return f"combine: its launch takes {_duration(mine)}, best {_duration(theirs)}"
    return f"combine: an extra launch of {_duration(mine)}"


def _launches(loss: _Loss) -> str:
    mine, theirs = (sum(la.gap_us > 0 for la in result.launches) for result in loss.both)
    return f"launches: {mine} gaps, best {theirs}"


def _pipes(loss: _Loss) -> str:
    """FLOP, if they explain half of the loss; else the pipe that grew most."""
    issued = [sum(la.issued_flop for la in r.launches) / r.useful_flop for r in loss.both]
    if loss.explained_by(*issued):
        name = "padding" if issued[0] > 1.05 else "work"
        return f"{name}: issues {_ratio(issued[0])} the useful FLOP, best {_ratio(issued[1])}"
    grown = {p: [_share(r, (p,)) * r.time_us for r in loss.both] for p in PIPES}
    pipe = max(PIPES, key=lambda p: grown[p][0] - grown[p][1])
    mine, theirs = (_launch(r, pipe).pipe_utilisation.get(pipe, 0.0) for r in loss.both)
    state = "a full pipe" if mine >= FULL else "exposed"
    return f"{pipe}: {state}, {mine:.0%} busy, best {theirs:.0%}"


def _hbm(loss: _Loss) -> str:
    """Bytes, if they explain half of the loss; else the bandwidth."""
    moved = [result.hbm_bytes / result.compulsory_bytes for result in loss.both]
    if loss.explained_by(*moved):
        name = "re-reads" if moved[0] > 1.05 else "traffic"
        return f"{name}: HBM traffic {_ratio(moved[0])} compulsory, best {_ratio(moved[1])}"
    mine, theirs = (result.hbm_gb_per_s for result in loss.both)
    full = _share(loss.result, ("hbm",))
    return f"hbm: a full pipe for {full:.0%} of the time, {mine:.0f} GB/s, best {theirs:.0f}"


def _l2(loss: _Loss) -> str:
    mine, theirs = (sum(la.l2_to_sm_bytes for la in r.launches) / 1e9 for r in loss.both)
    full = _share(loss.result, ("l2",))
    moved = f"{mine:.3g} GB to the SMs, best {theirs:.3g}"
    return f"l2: a full pipe for {full:.0%} of the time, {moved}"


def _waiting(loss: _Loss) -> str:
    """The share of the slots' time, for causes that have no number of their own."""
    causes = LATENCY if loss.reason == "latency" else (loss.reason,)
    mine, theirs = (_share(result, causes) for result in loss.both)
    what = _WAITS.get(loss.reason, "")
    return f"{loss.reason}: {what}{mine:.0%} of the slots' time, best {theirs:.0%}"


_WAITS = {
    "latency": "start of CTAs and waits for loads, ",
    "sync": "barriers and load waits, ",
    "fix_up": "waiting for peers and merging their results, ",
}
_EVIDENCE = {
    "tail": _tail,
    "unfilled": _unfilled,
    COMBINE: _combine,
    "launch": _launches,
    "pipes": _pipes,
    "hbm": _hbm,
    "l2": _l2,
}


def _ratio(value: float) -> str:
    if value < 0.005:
        return "none"
    return f"{value:.{0 if value >= 10 else 2}f}x"


def _duration(us: float) -> str:
    value, unit = (us / 1e3, "ms") if us >= 1e3 else (us, "us")
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f} {unit}"
