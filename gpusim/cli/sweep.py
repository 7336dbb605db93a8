"""`gpusim sweep SWEEP --output FILE`."""

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click

from gpusim.cli.options import format_option, output_option, report_option, workers_option
from gpusim.cli.output import emit, not_an_input, not_the_same, write
from gpusim.errors import SpecError

#: Seconds between lines about progress where no terminal shows a bar.
SAY_S = 30.0


@click.command()
@click.argument("sweep_file", metavar="SWEEP")
@workers_option
@click.option("--cluster", metavar="ADDRESS", help="Dask scheduler to run on, not on processes.")
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of known results; new ones are kept there.",
)
@report_option
@format_option
@partial(output_option, says="The rows: FILE.csv, or FILE.parquet. Needed.")
def sweep(
    sweep_file: str,
    workers: int | None,
    cluster: str | None,
    cache: Path | None,
    report: Path | None,
    style: str,
    output: Path | None,
) -> None:
    """Predict every point of SWEEP (a shipped name or a YAML file), a row each.

    A run that was interrupted, or killed, goes on where its output ends. The rows are the same, in
    the same order, from any number of workers. A point that cannot be predicted is a row with its
    error. --format is for the summary on standard output, --report for all rows of the output.
    """
    from gpusim.cli.pages import sweep_report
    from gpusim.report.sweep import sweep_table
    from gpusim.study.processes import cpus
    from gpusim.study.sweep import plan_file, run_plan

    if output is None or output.suffix.lower() not in (".csv", ".parquet"):
        found = "none" if output is None else output.name
        raise SpecError(f"--output: expected FILE.csv or FILE.parquet, found {found}")
    if cluster is not None and workers is not None:
        raise SpecError("--workers: expected none beside --cluster, which has its own")
    not_an_input(output, [sweep_file])
    not_an_input(report, [sweep_file], option="--report")
    not_the_same({"--output": output, "--report": report})
    declared, plan = plan_file(sweep_file)
    with _interruptible():
        run = run_plan(
            plan,
            output,
            workers=workers or cpus(),
            cluster=cluster,
            cache=cache,
            progress=_bar,
        )
    if report is not None:
        sweep_report(report, declared, plan, output, sweep_file)
    summary = run.as_dict()
    if style == "json":
        write(json.dumps(summary, indent=2) + "\n", None)
    elif style == "csv":
        emit([summary], str, style="csv", output=None)
        for error in summary["errors"]:
            click.echo("failed: {rows} rows: {reason}".format_map(error), err=True)
    else:
        write(sweep_table(summary), None)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM, by which batch systems and Kubernetes ask to end, do what Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _bar(total: int, done: int) -> Iterator[Callable[[int], None]]:
    """Progress with rate and time left: a bar on a terminal, else a line now and then."""
    if not sys.stderr.isatty():
        yield _Lines(total, done).step
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Any) -> Text:
            speed = task.speed or 0.0
            return Text(f"{speed:,.{0 if speed >= 10 else 2}f} a second")

    columns = (
        *(TextColumn("sweeping"), BarColumn(), MofNCompleteColumn(), Rate()),
        *(TimeRemainingColumn(), TextColumn("left")),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total, completed=done)
        yield lambda more: bar.advance(task, more)


class _Lines:
    """Progress for logs."""

    def __init__(self, total: int, done: int) -> None:
        self._total, self._done, self._first = total, done, done
        self._start = self._said = time.monotonic()

    def step(self, more: int) -> None:
        self._done += more
        now = time.monotonic()
        if now - self._said < SAY_S:
            return
        self._said = now
        rate = (self._done - self._first) / (now - self._start)
        left = (self._total - self._done) / rate
        digits = 0 if rate >= 10 else 2
        click.echo(
            f"{self._done} of {self._total}, {rate:,.{digits}f} a second, {left:,.0f} s left",
            err=True,
        )
