"""The fastest of many configurations with few runs of the simulator.

The closed form looks at a coarse grid of tiles, then goes on from the best of each schedule, one
option at a time, until the best have no better neighbour. The simulator runs what the closed form
finds best, corrected by how far the two differ for that schedule, until nothing left can be faster
than the best by more than what is tolerated, or a share of the space has been run.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from gpusim.errors import SpecError
from gpusim.result import Result
from gpusim.study.search_space import UNTUNED, Point, SearchSpace

#: What the best found may be slower than the best there is.
TOLERANCE = 0.03
#: Key tiles of the coarse grid, and its stages: the first that fit.
COARSE_N, COARSE_STAGES = (64, 128), (2, 1)
#: Schedules whose coarse best is further behind the best of all are not looked at more closely.
HOPELESS = 2.0
#: From so many of a schedule's best the search goes on, as long as they change, in so many steps.
BEAM, STEPS = 3, 12
#: Options that change together (a warp has 16 or 32 rows of the tile), as places in a `Point`.
LINES = ((0, 2), (1,), (3,))
#: A configuration's ratio of `sim` to `analytic` may lie so far below the least seen of its
#: schedule. On the shapes of `validation.tuning` 1 in 20 of those within a third of the best lies
#: further below the ratio of the schedule's best by the closed form.
SPREAD = 0.05
#: Of the space is simulated at most this share; and so many, if that allows it, for the runners-up.
MOST_SHARE, LEAST_RUNS = 0.015, 12


class Candidate(NamedTuple):
    """A point of the space of the n-th schedule."""

    space: int
    point: Point

    @property
    def simplicity(self) -> tuple[int, ...]:
        """Of equals the one with the fewest options goes first, then the one with the smallest."""
        given = sum(value is not None for value in self.point)
        return given, *(value or 0 for value in self.point)


#: Results of candidates by an engine; of what cannot run, the reason.
Predict = Callable[[Sequence[Candidate], str], Iterable[Result | Exception]]


@dataclass(slots=True, kw_only=True)
class Search:
    """What a search has looked at, by engine; in the order of the runs.

    Attributes:
        refused: how many tiles were no candidates, by reason.
    """

    spaces: Sequence[SearchSpace]
    predict: Predict
    analytic: dict[Candidate, Result | None] = field(default_factory=dict)
    simulated: dict[Candidate, Result | None] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)

    @property
    def size(self) -> int:
        """About how many points all spaces have."""
        return sum(space.about for space in self.spaces)

    def estimate(self, candidate: Candidate) -> float:
        """Time by the closed form, in us; infinite for what does not fit."""
        self.estimate_all((candidate,))
        return _time(self.analytic[candidate])

    def estimate_all(self, candidates: Iterable[Candidate]) -> None:
        """Have the closed form look at candidates, at all of them at once."""
        self._run(candidates, "analytic", self.analytic)

    def simulate(self, candidate: Candidate) -> float:
        """Time by the simulator, in us; infinite for what it cannot run, such as CTAs that wait for
        others which find no room.
        """
        self._run((candidate,), "sim", self.simulated)
        return _time(self.simulated[candidate])

    def _run(
        self, candidates: Iterable[Candidate], engine: str, known: dict[Candidate, Result | None]
    ) -> None:
        new = [candidate for candidate in dict.fromkeys(candidates) if candidate not in known]
        if not new:
            return
        for candidate, found in zip(new, self.predict(new, engine), strict=True):
            if isinstance(found, Result):
                known[candidate] = found
            elif isinstance(found, SpecError):
                known[candidate] = None
                lack = self.spaces[candidate.space].lack(candidate.point)
                self.refused[lack or f"refused by {engine}"] += 1
            else:
                raise found

    def fitting(self) -> list[Candidate]:
        """What the closed form has seen, the fastest first."""
        seen = (candidate for candidate, result in self.analytic.items() if result is not None)
        return sorted(seen, key=lambda c: (self.estimate(c), c.simplicity))

    def ranked(self) -> list[Candidate]:
        """What was simulated, the fastest first.

        Raises:
            SpecError: if the simulator could run nothing.
        """
        ran = [candidate for candidate, result in self.simulated.items() if result is not None]
        if not ran:
            raise SpecError("expected a configuration that can be simulated, found none")
        return sorted(ran, key=lambda c: (self.simulate(c), c.simplicity))


def _time(result: Result | None) -> float:
    return inf if result is None else result.time_us


def search(spaces: Sequence[SearchSpace], predict: Predict) -> Search:
    """Search the spaces of several schedules on one problem and GPU.

    Every schedule is simulated as it is, and at its best by the closed form.

    Raises:
        SpecError: if nothing fits.
    """
    state = _begun(spaces, predict)
    for index in range(len(spaces)):
        _survey(state, index)
    seen = state.fitting()
    if not seen:
        raise SpecError("expected a configuration that fits on the GPU, found none")
    for index in range(len(spaces)):
        best = min((state.estimate(c) for c in seen if c.space == index), default=inf)
        if best <= HOPELESS * state.estimate(seen[0]):
            _climb(state, index)
    _finals(state)
    return state


def exhaustive_search(spaces: Sequence[SearchSpace], predict: Predict) -> Search:
    """The same by running everything that fits in both engines."""
    state = _begun(spaces, predict)
    for index, space in enumerate(spaces):
        state.estimate_all(Candidate(index, point) for point in space)
        for point in space:
            state.simulate(Candidate(index, point))
    return state


def _begun(spaces: Sequence[SearchSpace], predict: Predict) -> Search:
    refused = sum((space.refused for space in spaces), Counter[str]())
    return Search(spaces=spaces, predict=predict, refused=refused)


def _survey(state: Search, index: int) -> None:
    """The schedule as it is, and a coarse grid of tiles, with as many stages as fit."""
    state.estimate(Candidate(index, UNTUNED))
    grid = [
        point
        for point in state.spaces[index].tiles[1:]
        if point[1] in (None, *COARSE_N) and point[3] in (None, COARSE_STAGES[0])
    ]
    state.estimate_all(Candidate(index, point) for point in grid)
    for fewer in COARSE_STAGES[1:]:
        large = [p for p in grid if p[3] and state.estimate(Candidate(index, p)) == inf]
        grid = [(m, n, warps, fewer, splits) for m, n, warps, _, splits in large]
        state.estimate_all(Candidate(index, point) for point in grid)


def _climb(state: Search, index: int) -> None:
    """Go on from the best of a schedule to all that differ in one option."""
    done: set[Candidate] = set()
    for _ in range(STEPS):
        best = [c for c in state.fitting() if c.space == index][:BEAM]
        left = [candidate for candidate in best if candidate not in done]
        if not left:
            return
        done.add(left[0])
        near = _neighbours(state.spaces[index], left[0].point)
        state.estimate_all(Candidate(index, point) for point in near)


def _neighbours(space: SearchSpace, point: Point) -> Iterator[Point]:
    """All tiles with the same splits that differ in one option, and all splits of the tile."""
    *tile, splits = point
    for line in LINES:
        kept = [place for place in range(len(tile)) if place not in line]
        for other in space.tiles[1:]:
            if all(other[place] == tile[place] for place in kept):
                yield (*other[:-1], splits)
    whole = (*tile, None)
    yield from (whole, *space.splits(whole))


def _finals(state: Search) -> None:
    """Simulate in the order of corrected estimates until the rest is not worth it."""
    queue = state.fitting()
    for index in range(len(state.spaces)):
        own = [candidate for candidate in queue if candidate.space == index]
        for candidate in own[:1] + [c for c in own if c.point == UNTUNED]:
            state.simulate(candidate)
    least: dict[int, float] = {}
    for candidate in state.simulated:
        _learn(state, candidate, least)
    fastest = min(map(state.simulate, state.simulated), default=inf)
    left = [candidate for candidate in queue if candidate not in state.simulated]
    while left and len(state.simulated) < max(len(least), MOST_SHARE * state.size):
        candidate = min(left, key=lambda c: state.estimate(c) * least.get(c.space, 1.0))
        floor = state.estimate(candidate) * least.get(candidate.space, 1.0) * (1 - SPREAD)
        if floor * (1 + TOLERANCE) > fastest and len(state.simulated) >= LEAST_RUNS:
            return
        left.remove(candidate)
        fastest = min(fastest, state.simulate(candidate))
        _learn(state, candidate, least)


def _learn(state: Search, candidate: Candidate, least: dict[int, float]) -> None:
    """Keep the least ratio of the simulator's time to the closed form's, by schedule."""
    if state.simulated[candidate] is not None:
        ratio = state.simulate(candidate) / state.estimate(candidate)
        least[candidate.space] = min(ratio, least.get(candidate.space, ratio))
