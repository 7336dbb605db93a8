"""What a search for the best configuration has found on one GPU."""

from dataclasses import asdict, dataclass
from typing import Any

from gpusim.result import Result
from gpusim.study.search import TOLERANCE, Candidate, Search
from gpusim.study.search_space import NAMES, UNTUNED


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedEntry:
    """A configuration that was simulated.

    Attributes:
        role: 'best', 'runner-up' (within 3 % of the best) or 'untuned' (a schedule as it is, that
            is further behind).
        rank: among all that were simulated on this workload and GPU, 1 for the fastest.
        ratio: time over that of the best.
        analytic_us: time by the closed form.
        untuned: whether the schedule is as it is.
        configuration: tile, warps, stages and splits, whoever chose them.
    """

    result: Result
    role: str
    rank: int
    ratio: float
    analytic_us: float
    untuned: bool
    configuration: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """The JSON form: that of the run, with its place and what limits it."""
        run = self.result
        cause, share = max(run.breakdown.items(), key=lambda item: item[1])
        return {
            "workload": run.workload,
            "gpu": run.gpu,
            "schedule": run.schedule,
            "options": run.options,
            "configuration": self.configuration,
            "role": self.role,
            "rank": self.rank,
            "ratio": self.ratio,
            "analytic_us": self.analytic_us,
            "untuned": self.untuned,
            "limits": {"cause": cause, "share": share, "occupancy": run.main.limiter},
        } | run.as_dict()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A configuration that fits, and its time by the closed form, if that has looked at it.

    `splits` is whether the schedule splits the keys.
    """

    workload: str
    gpu: str
    schedule: str
    splits: bool
    configuration: dict[str, int]
    analytic_us: float | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """What was found for one workload on one GPU.

    Attributes:
        entries: the best, its runners-up, and every schedule as it is, the fastest first.
        size: about how many configurations there are; analysed and simulated are how many of them
            each engine was asked for.
        refused: tiles that were no candidates, by reason.
        fits: if asked for, all that fit of schedules with tiles to choose, the best by the closed
            form first, those that it has not looked at last.
        skipped: schedules that cannot take the workload, and why.
    """

    workload: str
    gpu: str
    entries: tuple[TunedEntry, ...]
    size: int
    analysed: int
    simulated: int
    refused: dict[str, int]
    fits: tuple[Fit, ...]
    skipped: tuple[str, ...]

    @property
    def best(self) -> TunedEntry:
        """The fastest."""
        return self.entries[0]

    def as_rows(self, *, options_text: bool = False) -> list[dict[str, Any]]:
        """The JSON form of each entry, with what the search has done; options as text for CSV."""
        done = {
            "configurations": self.size,
            "analytic": self.analysed,
            "sim": self.simulated,
            "refused": self.refused,
        }
        rows = [entry.as_dict() | {"search": done} for entry in self.entries]
        if options_text:
            for row, entry in zip(rows, self.entries, strict=True):
                row["options"] = entry.result.options_text
        return rows


def entries_of(found: Search) -> list[TunedEntry]:
    """The best and its runners-up, and each schedule as it is; of two alike, the simpler."""
    entries: list[TunedEntry] = []
    best = found.simulate(found.ranked()[0])
    for rank, candidate in enumerate(found.ranked(), start=1):
        result = found.simulated[candidate]
        if result is None:
            continue
        near = result.time_us <= (1 + TOLERANCE) * best
        configuration = _configuration(result)
        alike = any(
            (e.result.schedule, e.configuration, e.result.time_us)
            == (result.schedule, configuration, result.time_us)
            for e in entries
        )
        if alike or not (near or candidate.point == UNTUNED):
            continue
        entries.append(
            TunedEntry(
                result=result,
                role="untuned" if not near else "runner-up" if entries else "best",
                rank=rank,
                ratio=result.time_us / best,
                analytic_us=found.estimate(candidate),
                untuned=candidate.point == UNTUNED,
                configuration=configuration,
            )
        )
    return entries


def _configuration(result: Result) -> dict[str, int]:
    """Tile, warps, stages and splits of the kernel that attends; what was given goes first."""
    given = {name: n for name, n in result.options.items() if name in NAMES}
    return dict(result.main.tile) | given


def fits_of(workload: str, found: Search) -> list[Fit]:
    """Every configuration that fits of the schedules that have tiles to choose."""
    fits = []
    for index, space in enumerate(found.spaces):
        if len(space.tiles) == 1:
            continue
        for point in space:
            tile = max(space.launches(point), key=lambda launch: launch.issued_flop).tile
            given = dict(zip(NAMES, point, strict=True))
            seen = found.analytic.get(Candidate(index, point))
            fits.append(
                Fit(
                    workload=workload,
                    gpu=space.gpu.name,
                    schedule=space.schedule,
                    splits=space.splits_freely or "num_splits" in space.pinned,
                    configuration=dict(tile) | {k: n for k, n in given.items() if n is not None},
                    analytic_us=None if seen is None else seen.time_us,
                )
            )
    return sorted(fits, key=lambda f: float("inf") if f.analytic_us is None else f.analytic_us)
