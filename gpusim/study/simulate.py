"""One prediction: a schedule for an attention problem on a GPU, by one of the engines."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gpusim.errors import SpecError, nearest
from gpusim.result import Result
from gpusim.schedules.catalogue import SCHEDULES, build_launches, check_choice, problem_of
from gpusim.spec.attention import Attention
from gpusim.spec.gpu import Gpu
from gpusim.spec.load import load_gpu, load_workload
from gpusim.spec.workload import ScheduleChoice, Workload, check_conditions
from gpusim.units import GB

ENGINES = ("sim", "analytic")
DEFAULT_GPUS = ("a100_sxm_80gb", "h100_sxm", "rtx_6000_ada")


def simulate(
    attention: Attention,
    gpu: Gpu | str,
    schedule: str,
    engine: str = "sim",
    *,
    l2: str = "cold",
    load: str | float = "steady",
    workload: str = "",
    trace: bool = False,
    **tiling: Any,
) -> Result:
    """Predict one attention call.

    Args:
        attention: the problem, its sequences included.
        gpu: a profile (`gpusim.load_gpu`), or the name of one.
        schedule: one of `gpusim.SCHEDULES`.
        engine: 'sim' (discrete events) or 'analytic' (closed form).
        l2: 'cold', or 'warm' for a replay with the same buffers.
        load: 'benchmark', 'steady' or seconds of continuous load.
        workload: a name for the result.
        trace: keep a span per CTA (`sim` only).
        **tiling: the schedule's options: block_m, block_n, num_warps, stages, registers,
        num_splits.

    Raises:
        SpecError: for an unknown name or option, or a problem the schedule or GPU cannot take.
    """
    check_engine(engine)
    if isinstance(gpu, str):
        gpu = load_gpu(gpu)
    check_conditions(l2, load)
    launches = build_launches(schedule, attention, gpu, tiling)
    attention = problem_of(schedule, attention)
    names = (workload, schedule)
    try:
        if engine == "sim":
            from gpusim.sim.engine import simulate_launches

            result = simulate_launches(
                attention, gpu, launches, names=names, l2=l2, load=load, trace=trace
            )
        else:
            from gpusim.analytic.engine import predict_launches

            result = predict_launches(attention, gpu, launches, names=names, l2=l2, load=load)
    except SpecError as error:
        raise SpecError(f"schedule {schedule}: {error}") from error
    return replace(result, options=tiling)


def check_engine(engine: str) -> None:
    """Refuse an engine that there is not."""
    if engine not in ENGINES:
        raise SpecError(
            f"engine: expected sim or analytic, found {engine!r}{nearest(engine, ENGINES)}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Results of several predictions, why some were left out, and what to know of the others."""

    results: list[Result]
    skipped: list[str]
    notes: list[str]


def simulate_files(
    files: Sequence[str | Path],
    *,
    gpus: Sequence[str] = (),
    schedules: Sequence[str] = (),
    engine: str = "sim",
) -> Run:
    """Load workload files (or shipped names) and predict them; arguments override what they name.

    Raises:
        SpecError: naming the file, for a mistake in it or a problem that a named schedule or GPU
            cannot take.
    """
    runs = []
    for file, workload in load_files(files, gpus=gpus, schedules=schedules):
        if schedules:
            chosen = tuple(c for name in schedules for c in choices_of(workload, name))
            workload = workload.model_copy(update={"schedules": chosen})
        with mistakes_in(file):
            runs.append(simulate_workload(workload, engine=engine))
    return _joined(runs)


def load_files(
    files: Sequence[str | Path], *, gpus: Sequence[str], schedules: Sequence[str]
) -> Iterator[tuple[str | Path, Workload]]:
    """Load file after file, with those GPUs if any, and check the names of GPUs and schedules.

    Raises:
        SpecError: for an unknown name, or a mistake in a file.
    """
    for name in gpus:
        load_gpu(name)
    for file in dict.fromkeys(files):
        workload = load_workload(file)
        for name in schedules:
            if name not in {choice.name for choice in workload.schedules}:
                check_choice(name, {}, where="--schedule")
        yield file, workload.model_copy(update={"gpus": tuple(gpus)}) if gpus else workload


def choices_of(workload: Workload, name: str) -> list[ScheduleChoice]:
    """What a workload says of a schedule, with its options; else the schedule as it is."""
    named = [choice for choice in workload.schedules if choice.name == name]
    return named or [ScheduleChoice(name=name)]


@contextmanager
def mistakes_in(file: str | Path) -> Iterator[None]:
    """Name the file in every `SpecError` from within."""
    try:
        yield
    except SpecError as error:
        raise SpecError(f"{file}: {error}") from error


def simulate_workload(workload: Workload, *, engine: str = "sim") -> Run:
    """Predict every GPU and schedule of a workload, GPU by GPU.

    If it names no GPUs, `DEFAULT_GPUS` run; if it names no schedules, all that can take it.

    Raises:
        SpecError: if a schedule that the workload names cannot take it, or none can.
    """
    check_choices(workload.schedules)
    choices = workload.schedules or tuple(ScheduleChoice(name=name) for name in SCHEDULES)
    strict = bool(workload.schedules)
    gpus = load_gpus(workload.gpus or DEFAULT_GPUS)
    run = _joined(predict(workload, gpu, choices, engine=engine, strict=strict) for gpu in gpus)
    if not run.results:
        raise nothing_runs(run.skipped)
    return run


def check_choices(choices: Sequence[ScheduleChoice]) -> None:
    """Check the schedules that a workload names, and their options."""
    for i, choice in enumerate(choices):
        check_choice(choice.name, choice.options, where=f"schedules[{i}]")


def load_gpus(names: Sequence[str]) -> list[Gpu]:
    """Load the GPUs that a workload names."""
    gpus = []
    for i, name in enumerate(names):
        try:
            gpus.append(load_gpu(name))
        except SpecError as error:
            raise SpecError(f"gpus[{i}]: {error}") from error
    return gpus


def predict(
    workload: Workload,
    gpu: Gpu,
    choices: Sequence[ScheduleChoice],
    *,
    engine: str = "sim",
    strict: bool = False,
) -> Run:
    """Predict a workload with several schedules on one GPU; leave out those that cannot take it.

    Raises:
        SpecError: if a schedule cannot take it and `strict` is given.
    """
    run = Run(results=[], skipped=[], notes=[])
    for choice in choices:
        try:
            result = simulate(
                workload.attention,
                gpu,
                choice.name,
                engine,
                l2=workload.l2,
                load=workload.load,
                workload=workload.name,
                **choice.options,
            )
        except SpecError as error:
            if strict:
                raise
            run.skipped.append(f"{gpu.name}, {choice.name}: {error}")
        else:
            run.results.append(result)
            if result.footprint_bytes > gpu.hbm.capacity_gb * GB:
                need = f"{result.footprint_bytes / GB:.0f} GB, it has {gpu.hbm.capacity_gb:.0f}"
                run.notes.append(
                    f"{gpu.name}, {result.label}: needs {need}; the time is as if it fitted"
                )
    return run


def nothing_runs(skipped: Sequence[str]) -> SpecError:
    """The mistake of asking for what no schedule can do."""
    return SpecError(f"expected a schedule that can take it, found none: {skipped[0]}")


def _joined(runs: Iterable[Run]) -> Run:
    total = Run(results=[], skipped=[], notes=[])
    for run in runs:
        total.results.extend(run.results)
        total.skipped.extend(run.skipped)
        total.notes.extend(run.notes)
    return total
