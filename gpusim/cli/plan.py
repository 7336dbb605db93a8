"""`gpusim plan PLAN`."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpusim.cli.options import output_options, report_option, workers_option
from gpusim.cli.output import emit, not_an_input, not_the_same, write

if TYPE_CHECKING:
    from gpusim.study.plan_tasks import Progress


@click.command()
@click.argument("plan", metavar="PLAN")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    help="Seed of arrivals and lengths; default: the plan's.",
)
@partial(workers_option, default=2, says="Processes; the answer does not depend on them.")
@report_option
@output_options
def plan(
    plan: str,
    seed: int | None,
    workers: int,
    report: Path | None,
    style: str,
    output: Path | None,
) -> None:
    """Say how many GPUs hold the latency targets of PLAN (a shipped name or a file), and the price.

    Every GPU type and tensor-parallel degree of the plan serves the plan's requests at rates from
    almost none to more than it can take. A plan that nothing can meet ends with status 0, and says
    which target is missed and by how much.
    """
    from gpusim.cli.pages import plan_report
    from gpusim.report.plan import plan_table
    from gpusim.study.plan import plan as answer_to

    not_an_input(output, [plan])
    not_an_input(report, [plan], option="--report")
    not_the_same({"--output": output, "--report": report})
    with _progress_bar() as progress:
        answer = answer_to(plan, seed=seed, workers=workers, progress=progress).as_dict()
    if report is not None:
        plan_report(report, answer, plan)
    if style == "json":
        write(json.dumps(answer, indent=2, allow_nan=False) + "\n", output)
    else:
        emit(answer["configurations"], lambda: plan_table(answer), style=style, output=output)


@contextmanager
def _progress_bar() -> Iterator["Progress | None"]:
    """A bar on stderr, if that is a terminal; it is gone when the work is done."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("simulating", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("runs", total=None)
        yield lambda ended, total: bar.update(task, completed=ended, total=total)
