"""Workload files, loaded and run one after another; mistakes name the file."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gpusim.errors import SpecError
from gpusim.schedules.catalogue import check_choice
from gpusim.spec.gpu import Gpu
from gpusim.spec.load import load_gpu
from gpusim.spec.load_model import load_any_workload
from gpusim.spec.model_workload import AnyWorkload
from gpusim.study.predict import (
    DEFAULT_GPUS,
    Run,
    choices_of,
    joined,
    load_gpus,
    simulate_workload,
)


def simulate_files(
    files: Sequence[str | Path],
    *,
    gpus: Sequence[str] = (),
    schedules: Sequence[str] = (),
    engine: str = "sim",
    trace: bool = False,
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
            runs.append(simulate_workload(workload, engine=engine, trace=trace))
    return joined(runs)


def load_files(
    files: Sequence[str | Path], *, gpus: Sequence[str], schedules: Sequence[str]
) -> Iterator[tuple[str | Path, AnyWorkload]]:
    """Load file after file, with those GPUs if any, and check the names of GPUs and schedules.

    Raises:
        SpecError: for an unknown name, or a mistake in a file.
    """
    for name in gpus:
        load_gpu(name)
    for file in dict.fromkeys(files):
        workload = load_any_workload(file)
        for name in schedules:
            if name not in {choice.name for choice in workload.schedules}:
                check_choice(name, {}, where="--schedule")
        yield file, workload.model_copy(update={"gpus": tuple(gpus)}) if gpus else workload


def inputs_of(
    files: Sequence[str | Path], *, gpus: Sequence[str] = ()
) -> tuple[dict[str, AnyWorkload], list[Gpu]]:
    """Workloads by file (or shipped name) as `load_files` has them, and every profile they run on.

    Raises:
        SpecError: for an unknown name, or a mistake in a file.
    """
    workloads = {str(file): found for file, found in load_files(files, gpus=gpus, schedules=())}
    names = dict.fromkeys(n for found in workloads.values() for n in found.gpus or DEFAULT_GPUS)
    return workloads, load_gpus(list(names))


@contextmanager
def mistakes_in(file: str | Path) -> Iterator[None]:
    """Name the file in every `SpecError` from within."""
    try:
        yield
    except SpecError as error:
        raise SpecError(f"{file}: {error}") from error
