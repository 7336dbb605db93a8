"""`gpusim.compare`, and the same for workload files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpusim.spec.attention import Attention
from gpusim.spec.gpu import Gpu
from gpusim.spec.load import load_gpu
from gpusim.spec.load_model import load_any_workload
from gpusim.spec.model_workload import AnyWorkload, ModelWorkload
from gpusim.spec.validate import validate
from gpusim.spec.workload import Workload
from gpusim.study.files import load_files, mistakes_in
from gpusim.study.ranking import Comparison, compare_workload

if TYPE_CHECKING:
    from pandas import DataFrame  # type: ignore[import-untyped]


def compare(
    problem: AnyWorkload | Attention | str | Path,
    gpus: Sequence[Gpu | str | Path] = (),
    schedules: Sequence[str | Mapping[str, Any]] = (),
    baseline: str | None = None,
    engine: str = "sim",
    *,
    l2: str | None = None,
    load: str | float | None = None,
) -> "DataFrame":
    """Compare schedules: a row per GPU and schedule, GPU by GPU, the fastest first.

    Columns are those of the JSON form, with dots for nested ones (`traffic.hbm_read_bytes`), and
    without the launches. Schedules that cannot take the problem have no row.

    Args:
        problem: a workload (or its file or shipped name), or the attention alone.
        gpus: profiles, names or files; default: the workload's, else `DEFAULT_GPUS`.
        schedules: names, or mappings of a name and options; default: those of the workload with
            their options, and every other one that can take it.
        baseline: the schedule that `ratio` refers to; default: the best exact one on the GPU (the
            best of all if none is exact). `approximation` says what the others' answers lack.
        engine: 'sim' or 'analytic'.
        l2: 'cold' or 'warm'; default: the workload's, else 'cold'.
        load: 'benchmark', 'steady' or seconds; default: the workload's, else 'steady'.

    Raises:
        SpecError: for an unknown name or option, or if nothing can run.
    """
    from pandas import json_normalize

    found = compare_workload(
        _workload(problem, l2, load),
        gpus=[gpu if isinstance(gpu, Gpu) else load_gpu(gpu) for gpu in gpus],
        schedules=schedules,
        baseline=baseline,
        engine=engine,
    )
    rows = [entry.as_row() for entry in found.entries]
    frame = json_normalize(rows).drop(columns=["launches", "assumptions"], errors="ignore")
    shares = [name for name in frame.columns if name.startswith("breakdown.")]
    return frame.fillna(dict.fromkeys(shares, 0.0))


def compare_files(
    files: Sequence[str | Path],
    *,
    gpus: Sequence[str] = (),
    schedules: Sequence[str] = (),
    baseline: str | None = None,
    engine: str = "sim",
    trace: bool = False,
) -> Comparison:
    """Load workload files (or shipped names) and rank schedules on each.

    Raises:
        SpecError: naming the file, for a mistake in it, a baseline that does not run, or a problem
            that no schedule can take.
    """
    total = Comparison(entries=[], skipped=[])
    for file, workload in load_files(files, gpus=gpus, schedules=schedules):
        with mistakes_in(file):
            found = compare_workload(
                workload, schedules=schedules, baseline=baseline, engine=engine, trace=trace
            )
        total.entries.extend(found.entries)
        total.skipped.extend(found.skipped)
        total.notes.extend(found.notes)
        total.cases.extend(found.cases)
    return total


def _workload(
    problem: AnyWorkload | Attention | str | Path, l2: str | None, load: str | float | None
) -> AnyWorkload:
    """The problem as a workload, with another state of the machine if one is given."""
    if isinstance(problem, Attention):
        problem = Workload(name="attention", attention=problem)
    elif not isinstance(problem, (Workload, ModelWorkload)):
        problem = load_any_workload(problem)
    state = {key: value for key, value in (("l2", l2), ("load", load)) if value is not None}
    kind = type(problem)
    fields = {key: getattr(problem, key) for key in kind.model_fields}
    return validate(kind, fields | state, "compare")
