"""Runs a sweep: points in order, from any number of workers, into a file that can resume."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpusim.errors import SpecError, plain
from gpusim.spec.sweep import Sweep, load_sweep
from gpusim.study.cache import Cache
from gpusim.study.executors import executor
from gpusim.study.files import mistakes_in
from gpusim.study.sweep_build import build_plan
from gpusim.study.sweep_chunk import Chunk, Task, run_chunk
from gpusim.study.sweep_columns import columns_of
from gpusim.study.sweep_file import SweepFile
from gpusim.study.sweep_parquet import check_installed, journal_of, last_row, write_parquet
from gpusim.study.sweep_plan import Plan

#: Combinations of a task: about a tenth of a second of the closed form, a quarter of one of `sim`.
CHUNK = {"analytic": 200, "sim": 8}
#: Reasons of failed points that are counted apart.
MAX_REASONS = 20
OTHER = "other reasons"

#: `map` of an executor.
Spread = Callable[[Callable[[Task], Chunk], Iterator[Task]], Iterator[Chunk]]
#: Told the number of combinations and how many are done already; gives what to call with more.
Progress = Callable[[int, int], AbstractContextManager[Callable[[int], None]]]


@dataclass(kw_only=True)
class Run:
    """What a run of a sweep did.

    Attributes:
        output: the file.
        combinations: of the sweep, those that conditions leave out included.
        resumed: rows that were there already.
        rows: rows that it added.
        cached: those of them whose result was known.
        errors: those of them without a result, by reason.
    """

    output: Path
    combinations: int
    resumed: int = 0
    rows: int = 0
    cached: int = 0
    errors: Counter[str] = field(default_factory=Counter)

    def add(self, chunk: Chunk) -> None:
        """Count the rows of a chunk."""
        self.rows += chunk.rows
        self.cached += chunk.cached
        for reason, count in chunk.errors.items():
            known = reason in self.errors or len(self.errors) < MAX_REASONS
            self.errors[reason if known else OTHER] += count

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "output": str(self.output),
            "combinations": self.combinations,
            "resumed": self.resumed,
            "rows": self.rows,
            "cached": self.cached,
            "failed": self.errors.total(),
            "errors": [{"rows": n, "reason": why} for why, n in self.errors.most_common()],
        }


def plan_file(name_or_path: str | Path) -> tuple[Sweep, Plan]:
    """Load a sweep file (or a shipped name), with the plan of its points.

    Raises:
        SpecError: naming the file, for a mistake in it.
    """
    sweep = load_sweep(name_or_path)
    with mistakes_in(name_or_path):
        return sweep, build_plan(sweep, name_or_path)


def run_sweep(sweep: Sweep, output: str | Path, **how: Any) -> Run:
    """Run a sweep; arguments as `run_plan`.

    Raises:
        SpecError: for a mistake in it, or an output that is not its own.
    """
    return run_plan(build_plan(sweep), Path(output), **how)


def run_plan(
    plan: Plan,
    output: Path,
    *,
    workers: int = 1,
    cluster: str | None = None,
    cache: str | Path | None = None,
    progress: Progress | None = None,
) -> Run:
    """Predict all points that are not in the output yet, and add them to it.

    The file is the same whatever ran it: one process, several, or a cluster, at once or resumed.

    Args:
        plan: the points.
        output: a CSV file, or with the suffix .parquet a Parquet file.
        workers: processes on this machine.
        cluster: address of a Dask scheduler, in place of processes.
        cache: folder of results that are known, and that results are kept in.
        progress: told how much there is to do, gives what to call with what is done.

    Raises:
        SpecError: if the output cannot be written, another process writes it, or it holds other
            rows; or if workers are lost again and again. What is there by then can be resumed.
    """
    if cache is not None:
        Cache(cache)
    columns = columns_of(plan)
    parquet = output.suffix.lower() == ".parquet"
    if parquet:
        check_installed()
    path = journal_of(output) if parquet else output
    run = Run(output=output, combinations=plan.size)
    with executor(workers, cluster) as pool, SweepFile(path, list(columns), plan.digest) as file:
        if parquet and not file.rows and output.exists():
            path.unlink()
            run.resumed = _check_complete(plan, output)
            return run
        run.resumed = file.rows
        try:
            _fill(file, pool.map, _tasks(plan, file.last_index + 1, cache), run, progress)
        except BaseException:
            if parquet:
                write_parquet(path, output, columns)
            raise
        if parquet:
            write_parquet(path, output, columns)
            path.unlink()
    return run


def _fill(
    file: SweepFile,
    spread: Spread,
    tasks: Iterator[Task],
    run: Run,
    progress: Progress | None,
) -> None:
    done = file.last_index + 1
    if done >= run.combinations:
        return
    bar = progress(run.combinations, done) if progress else nullcontext(lambda _: None)
    with bar as step:
        for chunk in spread(run_chunk, tasks):
            file.append(chunk.text)
            run.add(chunk)
            step(chunk.stop - done)
            done = chunk.stop


def _tasks(plan: Plan, start: int, cache: str | Path | None) -> Iterator[Task]:
    """Tasks from a combination on; only one is made at a time."""
    text, folder = plan.text(), None if cache is None else str(Path(cache).resolve())
    engines = {plan.base["engine"], *plan.values_of("engine")}
    size = min(CHUNK.get(str(engine), CHUNK["sim"]) for engine in engines)
    for begin in range(start, plan.size, size):
        yield Task(plan=text, start=begin, stop=min(begin + size, plan.size), cache=folder)


def _check_complete(plan: Plan, output: Path) -> int:
    """Rows of a Parquet file; one that is not all of this sweep, and has no CSV, is refused.

    Raises:
        SpecError: saying so.
    """
    rows, index, sweep = last_row(output)
    where = plain(str(output))
    if rows and sweep != plan.digest:
        raise SpecError(
            f"{where}: expected rows of this sweep, found those of another, or of another version"
            " of the model"
        )
    if any(plan.point(later) for later in range(index + 1, plan.size)):
        raise SpecError(f"{where}: expected its rows in {journal_of(output)} to resume, found none")
    return rows
