"""`gpusim validate DATASET|FILE.csv...`."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click

from gpusim.cli.options import (
    engine_option,
    format_option,
    output_option,
    plot_option,
    report_option,
    workers_option,
)
from gpusim.cli.output import emit, flat, not_an_input, not_the_same, write, write_file
from gpusim.errors import SpecError, plain

#: Sources that a figure's title names, and characters of each.
MAX_NAMES, MAX_NAME = 3, 60


@click.command()
@click.argument("sources", nargs=-1, metavar="[DATASET|FILE.csv]...")
@engine_option
@click.option(
    "--uncalibrated",
    is_flag=True,
    help="With nothing in the profiles calibrated: data sheets and microbenchmarks only.",
)
@click.option("--sample", type=click.IntRange(min=1), help="Only so many rows, drawn at random.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the draw."
)
@workers_option
@click.option("--without", multiple=True, metavar="EFFECT", help="Switch one off; may be repeated.")
@plot_option
@report_option
@format_option
@partial(output_option, says="Also write each row with its prediction to this file, as CSV.")
def validate(
    sources: tuple[str, ...],
    style: str,
    output: Path | None,
    plot: Path | None,
    report: Path | None,
    **how: Any,
) -> None:
    """Predict measured rows, and say how far predictions lie from them.

    A source is a CSV of measured rows or a dataset: `published` (papers and pages), `triton:GPU`
    (this project's own kernels on a GPU), or `aiconfigurator:SYSTEM/FRAMEWORK` (serving
    frameworks, such as aiconfigurator:a100_sxm/vllm; pip install 'gpusim[measurements]'). Without a
    source, the message of the error names all datasets. Times are predicted under the clocks of a
    benchmark. A roofline, useful FLOP at peak or compulsory bytes at peak, stands beside the model.

    Of kernels measured on one problem, pairs that differ by more than 10 % say how often the model
    picks the faster one. EFFECT is l2, clock, padding, waves, side_kernels or latency: without it
    the same kernels run on a simpler machine, which shows what it earns.

    The statistics always go to standard output; --output and --plot are for the rows behind them.
    """
    from gpusim.cli.pages import validate_report
    from gpusim.report.validate import validation_table
    from gpusim.report.validate_figure import validation_figure
    from gpusim.study.datasets import known
    from gpusim.study.validate import validate as validate_rows

    if not sources:
        raise SpecError(
            f"expected a CSV of measured rows or a dataset, found none; known: {known()}"
        )
    not_an_input(output, sources)
    not_an_input(plot, sources, option="--plot")
    not_an_input(report, sources, option="--report")
    not_the_same({"--output": output, "--plot": plot, "--report": report})
    found = validate_rows(sources, progress=_bar, **how)
    statistics = found.as_dict()
    rows = [prediction.as_row() for prediction in found.predictions] if output or plot else []
    if output is not None:
        emit(rows, str, style="csv", output=output)
    if plot is not None:
        profiles = ", uncalibrated" if how["uncalibrated"] else ""
        of = f"{_named(sources)}, engine {how['engine']}{profiles}"
        title = ", without ".join([of, *found.without])
        form = plot.suffix[1:].lower()
        drawn = validation_figure(rows, statistics, found.trend(), title=title, form=form)
        write_file(drawn, plot)
    if report is not None:
        used = {"title": _named(sources), "uncalibrated": how["uncalibrated"]}
        validate_report(report, found, statistics, **used)
    if style == "json":
        write(json.dumps(statistics, indent=2, allow_nan=False) + "\n", None)
    elif style == "csv":
        every = {"gpu": "all", "kernel": "", "phase": "", "size": ""}
        totals = [every | statistics, every | {"size": "above 50 us"} | statistics["above_50us"]]
        lines = [{k: v for k, v in flat(row).items() if "above" not in k} for row in totals]
        emit([*lines, *statistics["groups"]], str, style="csv", output=None)
        for left_out in statistics["left_out"]:
            click.echo("left out: {rows} of {of}: {reason}".format_map(left_out), err=True)
    else:
        write(validation_table(statistics), None)


def _named(sources: Sequence[str]) -> str:
    """Datasets by name and files without their folders; what does not fit a line is counted."""
    names = [Path(s).name if s.endswith(".csv") else s for s in dict.fromkeys(sources)]
    shown = [plain(name)[:MAX_NAME] for name in names[:MAX_NAMES]]
    rest = [f"{len(names) - MAX_NAMES} more"] if len(names) > MAX_NAMES else []
    return ", ".join(shown + rest)


@contextmanager
def _bar(total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr, where that is a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("predicting", total=total)
        yield lambda done: bar.advance(task, done)
