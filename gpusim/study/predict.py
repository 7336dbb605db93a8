"""All of a workload: its GPUs and schedules, what was left out, and what to know of the rest."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from gpusim.errors import SpecError
from gpusim.result import Result
from gpusim.schedules.catalogue import SCHEDULES, check_choice
from gpusim.spec.gpu import Gpu
from gpusim.spec.load import load_gpu
from gpusim.spec.model_workload import AnyWorkload, ModelWorkload
from gpusim.spec.workload import ScheduleChoice
from gpusim.study.forward_pass import forward_pass
from gpusim.study.simulate import simulate
from gpusim.units import GB

DEFAULT_GPUS = ("a100_sxm_80gb", "h100_sxm", "rtx_6000_ada")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A prediction, and all that it was made of."""

    workload: AnyWorkload
    gpu: Gpu
    choice: ScheduleChoice
    result: Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Results of several predictions, why some were left out, and what to know of the others.

    Attributes:
        cases: the same results, each with what it was made of, for figures and reports.
    """

    results: list[Result]
    skipped: list[str]
    notes: list[str]
    cases: list[Case] = field(default_factory=list)


def simulate_workload(workload: AnyWorkload, *, engine: str = "sim", trace: bool = False) -> Run:
    """Predict every GPU and schedule of a workload, GPU by GPU.

    If it names no GPUs, `DEFAULT_GPUS` run; if it names no schedules, all that can take it. With
    `trace`, results of `sim` keep a span per CTA.

    Raises:
        SpecError: if a schedule that the workload names cannot take it, or none can.
    """
    check_choices(workload.schedules)
    choices = workload.schedules or tuple(ScheduleChoice(name=name) for name in SCHEDULES)
    strict = bool(workload.schedules)
    gpus = load_gpus(workload.gpus or DEFAULT_GPUS)
    run = joined(
        predict(workload, gpu, choices, engine=engine, strict=strict, trace=trace) for gpu in gpus
    )
    if not run.results:
        raise nothing_runs(run.skipped)
    return run


def predict(
    workload: AnyWorkload,
    gpu: Gpu,
    choices: Sequence[ScheduleChoice],
    *,
    engine: str = "sim",
    strict: bool = False,
    trace: bool = False,
) -> Run:
    """Predict a workload with several schedules on one GPU; leave out those that cannot take it.

    Raises:
        SpecError: if a schedule cannot take it and `strict` is given.
    """
    run = Run(results=[], skipped=[], notes=[])
    for choice in choices:
        try:
            result = _result(workload, gpu, choice, engine, trace=trace)
        except SpecError as error:
            if strict:
                raise
            reason = str(error).removeprefix(f"schedule {choice.name}: ")
            run.skipped.append(f"{gpu.name}, {choice.name}: {reason}")
        else:
            run.results.append(result)
            run.cases.append(Case(workload=workload, gpu=gpu, choice=choice, result=result))
            run.notes.extend(_notes(result, gpu))
    return run


def _result(
    workload: AnyWorkload, gpu: Gpu, choice: ScheduleChoice, engine: str, *, trace: bool
) -> Result:
    """One prediction; of a model's step no spans are kept, only its launches."""
    state = {"l2": workload.l2, "load": workload.load, "workload": workload.name}
    options = state | choice.options
    if isinstance(workload, ModelWorkload):
        model, sequences = workload.model, workload.sequences
        return forward_pass(
            model, sequences, gpu, choice.name, engine=engine, **workload.parts(), **options
        )
    return simulate(workload.attention, gpu, choice.name, engine, trace=trace, **options)


def _notes(result: Result, gpu: Gpu) -> list[str]:
    """What a reader of the result should know."""
    step, notes = result.step, []
    if result.footprint_bytes > gpu.hbm.capacity_gb * GB:
        what = "" if step is None else " for weights and KV cache"
        need = f"{result.footprint_bytes / GB:.0f} GB{what}, it has {gpu.hbm.capacity_gb:.0f}"
        notes = [f"{gpu.name}, {result.label}: needs {need}; the time is as if it fitted"]
    if step is not None:
        notes += [f"{result.workload} assumes: {line}" for line in step.assumptions]
    return notes


def check_choices(choices: Sequence[ScheduleChoice]) -> None:
    """Check the schedules that a workload names, and their options."""
    for i, choice in enumerate(choices):
        check_choice(choice.name, choice.options, where=f"schedules[{i}]")


def choices_of(workload: AnyWorkload, name: str) -> list[ScheduleChoice]:
    """What a workload says of a schedule, with its options; else the schedule as it is."""
    named = [choice for choice in workload.schedules if choice.name == name]
    return named or [ScheduleChoice(name=name)]


def load_gpus(names: Sequence[str]) -> list[Gpu]:
    """Load the GPUs that a workload names."""
    gpus = []
    for i, name in enumerate(names):
        try:
            gpus.append(load_gpu(name))
        except SpecError as error:
            raise SpecError(f"gpus[{i}]: {error}") from error
    return gpus


def nothing_runs(skipped: Sequence[str]) -> SpecError:
    """The mistake of asking for what no schedule can do."""
    return SpecError(f"expected a schedule that can take it, found none: {skipped[0]}")


def joined(runs: Iterable[Run]) -> Run:
    """Several runs as one."""
    total = Run(results=[], skipped=[], notes=[])
    for run in runs:
        total.results.extend(run.results)
        total.skipped.extend(run.skipped)
        total.notes.extend(note for note in run.notes if note not in total.notes)
        total.cases.extend(run.cases)
    return total
