"""Schedules ranked on a workload, GPU by GPU, with the reason for each loss."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gpusim.errors import SpecError, excerpt, nearest
from gpusim.result import Result
from gpusim.schedules.catalogue import SCHEDULES
from gpusim.spec.gpu import Gpu
from gpusim.spec.model_workload import AnyWorkload
from gpusim.spec.validate import validate
from gpusim.spec.workload import ScheduleChoice
from gpusim.study.predict import (
    DEFAULT_GPUS,
    Case,
    Run,
    check_choices,
    choices_of,
    load_gpus,
    nothing_runs,
    predict,
)
from gpusim.study.simulate import check_engine
from gpusim.study.why import why


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A schedule's place among those that ran on the same workload and GPU.

    Attributes:
        rank: 1 for the fastest.
        ratio: time over that of the best, or of the baseline. The best is the fastest whose answer
            is exact, or of all if none is.
        why: what it loses most time by against the best; empty for the best and faster ones.
    """

    result: Result
    rank: int
    ratio: float
    why: str

    def as_dict(self) -> dict[str, Any]:
        """The JSON form: that of the run, with its place."""
        run = self.result
        names = {"workload": run.workload, "gpu": run.gpu, "schedule": run.schedule}
        place = {"options": run.options, "rank": self.rank, "ratio": self.ratio, "why": self.why}
        return names | place | run.as_dict()

    def as_row(self) -> dict[str, Any]:
        """The same with the options as one text, for tables."""
        return self.as_dict() | {"options": self.result.options_text}


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Entries by workload, GPU and rank, why some schedules were left out, and what to know.

    Attributes:
        cases: the entries' results in the same order, each with what it was made of.
    """

    entries: list[Entry]
    skipped: list[str]
    notes: list[str] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)


def compare_workload(
    workload: AnyWorkload,
    *,
    gpus: Sequence[Gpu] = (),
    schedules: Sequence[str | Mapping[str, Any]] = (),
    baseline: str | None = None,
    engine: str = "sim",
    trace: bool = False,
) -> Comparison:
    """Rank schedules on a workload, GPU by GPU; those that cannot take it are left out.

    Raises:
        SpecError: for an unknown schedule, option or baseline, or if nothing can run.
    """
    check_engine(engine)
    check_choices(workload.schedules)
    choices = _choices(workload, schedules)
    check_choices(choices)
    if baseline is not None:
        _check_baseline(baseline, {choice.name for choice in choices})
    found = Comparison(entries=[], skipped=[])
    for gpu in gpus or load_gpus(workload.gpus or DEFAULT_GPUS):
        run = predict(workload, gpu, choices, engine=engine, trace=trace)
        found.skipped.extend(run.skipped)
        found.notes.extend(note for note in run.notes if note not in found.notes)
        found.entries.extend(_ranked(run, gpu, baseline))
        found.cases.extend(sorted(run.cases, key=lambda case: case.result.time_us))
    if not found.entries:
        raise nothing_runs(found.skipped)
    return found


def _choices(
    workload: AnyWorkload, schedules: Sequence[str | Mapping[str, Any]]
) -> tuple[ScheduleChoice, ...]:
    """The workload's choices and every other schedule, or those of them that are asked for."""
    if not schedules:
        named = {choice.name for choice in workload.schedules}
        others = tuple(ScheduleChoice(name=name) for name in SCHEDULES if name not in named)
        return workload.schedules + others
    chosen: list[ScheduleChoice] = []
    for i, item in enumerate(schedules):
        if isinstance(item, str):
            chosen += choices_of(workload, item)
        else:
            chosen.append(validate(ScheduleChoice, dict(item), f"schedules[{i}]", join="."))
    return tuple(chosen)


def _check_baseline(baseline: str, names: Collection[str]) -> None:
    """Refuse a schedule that is not among those to compare, before any of them runs."""
    name = baseline.partition(" ")[0]
    if name not in names:
        hint = nearest(name, names) or f"; known: {', '.join(sorted(names))}"
        raise SpecError(
            f"baseline: expected one of the schedules to compare, found {excerpt(baseline)}{hint}"
        )


def _ranked(run: Run, gpu: Gpu, baseline: str | None) -> list[Entry]:
    """The results on one GPU, fastest first."""
    results = sorted(run.results, key=lambda result: result.time_us)
    if not results:
        return []
    best = next((result for result in results if not result.approximation), results[0])
    base = [best] if baseline is None else _named(baseline, run.results)
    if not base:
        ran = [result.label for result in results]
        hint = nearest(str(baseline), ran) or f"; these can: {', '.join(ran)}"
        where = f"baseline: expected a schedule that can run on {gpu.name}"
        raise SpecError(f"{where}, found {excerpt(baseline)}{hint}")
    return [
        Entry(
            result=result,
            rank=rank,
            ratio=result.time_us / base[0].time_us,
            why=why(result, best),
        )
        for rank, result in enumerate(results, start=1)
    ]


def _named(name: str, results: Sequence[Result]) -> list[Result]:
    """Results of a schedule with these options; if only its name is given, the plain one first."""
    return [r for r in results if r.label == name] or [r for r in results if r.schedule == name]
