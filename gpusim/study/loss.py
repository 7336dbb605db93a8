"""The time of a call by reason, and what a schedule loses by one of them against another.

A reason's time is the share x time of its causes in each launch; launch gaps are one reason, and a
combine as a whole is another.
"""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, replace

from gpusim.launch_result import LaunchResult
from gpusim.result import Result
from gpusim.schedules.step import Pipe

COMBINE = "combine"
PIPES = tuple(pipe.value for pipe in Pipe)
MEMORY = ("hbm", "l2")
LATENCY = ("cta_latency", "load_latency")
#: Causes that are one reason: pipes share one chain of work, and both latencies are waiting.
_MERGED = {**dict.fromkeys(PIPES, "pipes"), **dict.fromkeys(LATENCY, "latency")}


@dataclass(frozen=True, slots=True)
class Loss:
    """A reason, and the time that a schedule loses by it against the best."""

    result: Result
    best: Result
    reason: str
    excess_us: float

    @property
    def both(self) -> tuple[Result, Result]:
        """The schedule and the best."""
        return self.result, self.best

    @property
    def part(self) -> float:
        """Time lost by this reason over all time lost: above 1 if other reasons win some back."""
        return self.excess_us / (self.result.time_us - self.best.time_us)

    def explained_by(self, mine: float, theirs: float) -> bool:
        """Whether a count that time is proportional to explains half of what is lost."""
        spent = times(self.result)[self.reason]
        lost = min(self.excess_us, self.result.time_us - self.best.time_us)
        return mine > theirs > 0 and spent * (1 - theirs / mine) > lost / 2


def greatest_loss(result: Result, best: Result) -> Loss:
    """The reason whose time grew most against that of the best."""
    theirs = times(best)
    excess = {name: us - theirs[name] for name, us in times(result).items()}
    lost = result.time_us - best.time_us
    first, second, *_ = sorted(excess, key=lambda name: -excess[name])
    if first == "pipes" and excess[second] > lost / 2 and not _more_work(result, best):
        first = second  # the same work, which the best hides behind memory
    return Loss(result, best, first, excess[first])


def times(result: Result) -> dict[str, float]:
    """Time of a call by reason, in us.

    A slot that is not filled costs nothing while the others saturate a memory level.
    """
    found: dict[str, float] = defaultdict(float)
    for launch in result.launches:
        if is_combine(launch):
            found[COMBINE] += launch.total_us
            continue
        found["launch"] += launch.calls * launch.gap_us
        filled = 1 - launch.breakdown.get("unfilled", 0.0)
        for cause, part in launch.breakdown.items():
            us = part * launch.calls * launch.time_us
            if cause in MEMORY:
                found["unfilled"] -= us / filled - us
                us /= filled
            found[_MERGED.get(cause, cause)] += us
    return found


def main_launch(result: Result, cause: str) -> LaunchResult:
    """The launch that spends most time on a cause; a combine is a reason of its own."""
    launches = [la for la in result.launches if not is_combine(la)]
    return max(launches, key=lambda la: la.calls * la.time_us * la.breakdown.get(cause, 0.0))


def is_combine(launch: LaunchResult) -> bool:
    """Whether a launch merges partial results; of a model's it may tell the layers it is of."""
    return launch.name.partition(" ")[0] == COMBINE


def share(result: Result, causes: Collection[str]) -> float:
    """Share of a call that these causes take."""
    return (
        sum(
            la.breakdown.get(cause, 0.0) * la.calls * la.time_us
            for la in result.launches
            for cause in causes
        )
        / result.time_us
    )


def busy_us(result: Result, pipe: str) -> float:
    """Time for which a pipe is busy."""
    return sum(la.calls * la.time_us * la.pipe_utilisation.get(pipe, 0.0) for la in result.launches)


def _more_work(result: Result, best: Result) -> bool:
    """Whether a pipe is busy for notably longer than in the best."""
    mine, theirs = ({p: busy_us(r, p) for p in PIPES} for r in (result, best))
    return any(mine[pipe] > 1.1 * theirs[pipe] for pipe in PIPES)


def attention_part(result: Result) -> Result:
    """The attention of a model's step, as if it were all."""
    assert result.step is not None
    launches = tuple(la for la in result.launches if la.operator == "attention")
    return replace(
        result,
        launches=launches,
        time_us=sum(la.total_us for la in launches),
        useful_flop=result.step.attention_flop,
        compulsory_bytes=result.step.attention_bytes,
        step=None,
    )
