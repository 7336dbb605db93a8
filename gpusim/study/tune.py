"""The best configuration of any schedule for a workload, GPU by GPU."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from gpusim.errors import SpecError
from gpusim.result import Result
from gpusim.schedules.approximate import approximation
from gpusim.schedules.catalogue import SCHEDULES, is_exact
from gpusim.spec.gpu import Gpu
from gpusim.spec.model_workload import AnyWorkload
from gpusim.spec.workload import ScheduleChoice, Workload
from gpusim.study.call import Call, call_of, predicted, simulate_call
from gpusim.study.files import load_files, mistakes_in
from gpusim.study.predict import (
    DEFAULT_GPUS,
    check_choices,
    choices_of,
    load_gpus,
    nothing_runs,
)
from gpusim.study.processes import Processes
from gpusim.study.search import Candidate, exhaustive_search, search
from gpusim.study.search_space import SearchSpace, search_space
from gpusim.study.tuned import Tuned, entries_of, fits_of


def tune_workload(
    workload: Workload,
    *,
    gpus: Sequence[Gpu] = (),
    schedules: Sequence[str] = (),
    approximate: bool = False,
    exhaustive: bool = False,
    list_fits: bool = False,
    workers: int = 1,
) -> list[Tuned]:
    """Search tiles, warps, stages, splits and schedule for each GPU.

    Options that the workload gives to a schedule are kept.

    Args:
        workload: with its state of the machine.
        gpus: profiles; default: the workload's, else `DEFAULT_GPUS`.
        schedules: names; default: those of the workload and every other.
        approximate: also schedules whose answer is not exact attention in the workload's types.
        exhaustive: run every configuration by `sim`.
        list_fits: also list every configuration that fits.
        workers: processes, of which each searches for one GPU.

    Raises:
        SpecError: for an unknown name, or if nothing can run on a GPU.
    """
    check_choices(workload.schedules)
    choices = _choices(workload, schedules)
    check_choices(choices)
    machines = list(gpus) or load_gpus(workload.gpus or DEFAULT_GPUS)
    work = partial(
        _tune_gpu,
        workload,
        choices=choices,
        approximate=approximate,
        exhaustive=exhaustive,
        list_fits=list_fits,
    )
    if min(workers, len(machines)) == 1:
        return [work(gpu) for gpu in machines]
    with Processes(min(workers, len(machines))) as processes:
        return list(processes.map(work, machines))


def tune_files(
    files: Sequence[str | Path],
    *,
    gpus: Sequence[str] = (),
    schedules: Sequence[str] = (),
    approximate: bool = False,
    exhaustive: bool = False,
    list_fits: bool = False,
    workers: int = 1,
) -> list[Tuned]:
    """Load workload files (or shipped names) and tune for each; arguments as `tune_workload`.

    Of a model's step its attention is tuned, layers of one window at a time.

    Raises:
        SpecError: naming the file, for a mistake in it, or a problem that no schedule can take.
    """
    found: list[Tuned] = []
    for file, workload in load_files(files, gpus=gpus, schedules=schedules):
        with mistakes_in(file):
            for part in attention_of(workload):
                found += tune_workload(
                    part,
                    schedules=schedules,
                    approximate=approximate,
                    exhaustive=exhaustive,
                    list_fits=list_fits,
                    workers=workers,
                )
    return found


def attention_of(workload: AnyWorkload) -> list[Workload]:
    """The workload; of a model's step, the attention of a layer, for each window that layers have.

    Raises:
        SpecError: if the model attends to a latent cache, which no tile here does.
    """
    if isinstance(workload, Workload):
        return [workload]
    model, state = workload.model, {"gpus", "schedules", "l2", "load"}
    if model.mla is not None:
        raise SpecError("model.mla: expected none to tune its attention, found a latent cache")
    kept = {name: getattr(workload, name) for name in state}
    shared = {
        name: getattr(workload, name) for name in ("tensor_parallel", "kv_dtype", "page_size")
    }
    found = []
    for window, layers in model.windows.items():
        sees = f", window {window}" if window else ""
        name = f"{workload.name[:150]}: attention of {layers} layers{sees}"
        attention = model.attention(workload.sequences, window, **shared)
        found.append(Workload(name=name, attention=attention, **kept))
    return found


def _choices(workload: Workload, schedules: Sequence[str]) -> tuple[ScheduleChoice, ...]:
    if schedules:
        return tuple(choice for name in schedules for choice in choices_of(workload, name))
    named = {choice.name for choice in workload.schedules}
    others = tuple(ScheduleChoice(name=name) for name in SCHEDULES if name not in named)
    return workload.schedules + others


def _tune_gpu(
    workload: Workload,
    gpu: Gpu,
    *,
    choices: Sequence[ScheduleChoice],
    approximate: bool,
    exhaustive: bool,
    list_fits: bool,
) -> Tuned:
    """The search on one GPU.

    Raises:
        SpecError: if no schedule can take the workload.
    """

    spaces: list[SearchSpace] = []

    def predict(candidates: Sequence[Candidate], engine: str) -> Iterator[Result | Exception]:
        return predicted(_started(workload, spaces, c, engine) for c in candidates)

    skipped = []
    for choice in choices:
        try:
            space = search_space(choice.name, workload.attention, gpu, choice.options)
        except SpecError as error:
            reason = str(error).removeprefix(f"schedule {choice.name}: ")
            skipped.append(f"{gpu.name}, {choice.name}: {reason}")
            continue
        lacks = approximation(workload.attention, space.own, exact=is_exact(choice.name))
        if lacks and not approximate:
            skipped.append(f"{gpu.name}, {choice.name}: {lacks}; --approximate includes it")
        else:
            spaces.append(space)
    if not spaces:
        raise nothing_runs(skipped)
    found = (exhaustive_search if exhaustive else search)(spaces, predict)
    return Tuned(
        workload=workload.name,
        gpu=gpu.name,
        entries=tuple(entries_of(found)),
        size=found.size,
        analysed=len(found.analytic),
        simulated=len(found.simulated),
        refused=dict(found.refused),
        fits=tuple(fits_of(workload.name, found)) if list_fits else (),
        skipped=tuple(skipped),
    )


def _started(
    workload: Workload, spaces: Sequence[SearchSpace], candidate: Candidate, engine: str
) -> Call | Result | SpecError:
    """The result of a candidate by the simulator, its call for the closed form, or its error."""
    space = spaces[candidate.space]
    options = space.options(candidate.point)
    try:
        call = call_of(
            workload.attention,
            space.gpu,
            space.schedule,
            options,
            l2=workload.l2,
            load=workload.load,
            workload=workload.name,
        )
        return call if engine == "analytic" else simulate_call(call)
    except SpecError as error:
        return error
