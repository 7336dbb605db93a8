"""One prediction: a schedule for an attention problem on a GPU, by one of the engines."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpusim.errors import SpecError, nearest
from gpusim.result import Result
from gpusim.schedules.catalogue import SCHEDULES, build_launches, check_choice
from gpusim.spec.attention import Attention
from gpusim.spec.gpu import Gpu
from gpusim.spec.load import load_gpu, load_workload
from gpusim.spec.workload import ScheduleChoice, Workload

ENGINES = ("sim", "analytic")
DEFAULT_GPUS = ("a100_sxm_80gb", "h100_sxm", "rtx_6000_ada")


def simulate(
    attention: Attention,
    gpu: Gpu,
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
        gpu: a profile (`gpusim.load_gpu`).
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
    if engine not in ENGINES:
        raise SpecError(
            f"engine: expected sim or analytic, found {engine!r}{nearest(engine, ENGINES)}"
        )
    launches = build_launches(schedule, attention, gpu, tiling)
    names = (workload, schedule)
    try:
        if engine == "sim":
            from gpusim.sim.engine import simulate_launches

            return simulate_launches(
                attention, gpu, launches, names=names, l2=l2, load=load, trace=trace
            )
        from gpusim.analytic.engine import predict_launches

        return predict_launches(attention, gpu, launches, names=names, l2=l2, load=load)
    except SpecError as error:
        raise SpecError(f"schedule {schedule}: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Results of several predictions, and why some were left out."""

    results: list[Result]
    skipped: list[str]


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
    for name in gpus:
        load_gpu(name)
    for name in schedules:
        check_choice(name, {}, where="--schedule")
    runs = []
    for file in files:
        workload = load_workload(file)
        chosen = workload.model_copy(
            update={
                **({"gpus": tuple(gpus)} if gpus else {}),
                **(
                    {"schedules": tuple(ScheduleChoice(name=n) for n in schedules)}
                    if schedules
                    else {}
                ),
            }
        )
        try:
            runs.append(simulate_workload(chosen, engine=engine))
        except SpecError as error:
            raise SpecError(f"{file}: {error}") from error
    return Run(
        results=[result for run in runs for result in run.results],
        skipped=[reason for run in runs for reason in run.skipped],
    )


def simulate_workload(workload: Workload, *, engine: str = "sim") -> Run:
    """Predict every GPU and schedule of a workload, GPU by GPU.

    If it names no GPUs, `DEFAULT_GPUS` run; if it names no schedules, all that can take it.

    Raises:
        SpecError: if a schedule that the workload names cannot take it, or none can.
    """
    results, skipped = [], []
    every = tuple(ScheduleChoice(name=name) for name in SCHEDULES)
    for i, choice in enumerate(workload.schedules):
        check_choice(choice.name, choice.options, where=f"schedules[{i}]")
    for gpu in _gpus(workload.gpus or DEFAULT_GPUS):
        for choice in workload.schedules or every:
            try:
                results.append(_predict(workload, gpu, choice, engine))
            except SpecError as error:
                if workload.schedules:
                    raise
                skipped.append(f"{gpu.name}, {choice.name}: {error}")
    if not results:
        raise SpecError(f"expected a schedule that can take it, found none: {skipped[0]}")
    return Run(results=results, skipped=skipped)


def _gpus(names: Sequence[str]) -> list[Gpu]:
    gpus = []
    for i, name in enumerate(names):
        try:
            gpus.append(load_gpu(name))
        except SpecError as error:
            raise SpecError(f"gpus[{i}]: {error}") from error
    return gpus


def _predict(workload: Workload, gpu: Gpu, choice: ScheduleChoice, engine: str) -> Result:
    return simulate(
        workload.attention,
        gpu,
        choice.name,
        engine,
        l2=workload.l2,
        load=workload.load,
        workload=workload.name,
        **choice.options,
    )
