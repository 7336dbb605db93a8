"""`gpusim calibrate DATASET|FILE.csv... --gpu NAME`."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click

from gpusim.cli.options import engine_option, format_option, output_option, workers_option
from gpusim.cli.output import emit, not_an_input, write, write_file
from gpusim.errors import SpecError

#: More rows settle nothing further, and cost minutes.
MOST_ROWS = 500


def _names(_: click.Context, __: click.Parameter, given: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in given.split(",")) if given is not None else ()


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="DATASET|FILE.csv...")
@click.option("--gpu", required=True, help="GPU name or profile file: what to calibrate.")
@click.option(
    "--only",
    callback=_names,
    metavar="NUMBER,...",
    help="Fit these alone, such as cta.latency_ns,hbm.sustained_gb_per_s; any that has bounds.",
)
@click.option(
    "--uncalibrated",
    is_flag=True,
    help="Start from data sheets and microbenchmarks only, not from the profile as it is.",
)
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    default=MOST_ROWS,
    show_default=True,
    help="At most so many rows, drawn at random.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of the draw, and of the rows held back.",
)
@partial(
    engine_option,
    default="analytic",
    says="Of the errors before and after; the fit itself uses the closed form.",
)
@workers_option
@format_option
@partial(output_option, says="Write a profile with what was found to this file, as YAML.")
def calibrate(
    sources: tuple[str, ...],
    gpu: str,
    sample: int,
    style: str,
    output: Path | None,
    **how: Any,
) -> None:
    """Fit a profile's physical constants to measured rows, within their bounds.

    Rows are those that `gpusim validate` takes. From 8 on they help, 100 settle most constants;
    short and long calls, prompts and decode steps together show the most. A fifth of them is held
    back, for the error before and after. Fitted is what the profile calls calibrated, and estimates
    that have bounds (`gpusim hardware NAME` lists them); what the rows do not determine keeps its
    value. The profile of --output extends the given one and is named after its file; use it as
    `--gpu FILE.yaml`.
    """
    from gpusim.report.calibrate import calibration_table
    from gpusim.spec.load import files_of, shipped
    from gpusim.spec.profile_text import profile_text
    from gpusim.study.calibrate import calibrate as calibrate_profile
    from gpusim.study.calibration_rows import draw

    not_an_input(output, sources, [str(path) for path in files_of(gpu)])
    if output is not None and output.stem in shipped("hardware"):  # rows and tables go by the name
        raise SpecError(f"--output: expected a name of its own, found that of {output.stem}")
    with _status() as say:
        rows = draw(sources, gpu, sample=sample, seed=how["seed"])
        found = calibrate_profile(rows, gpu, say=say, **how)
    report = found.as_dict()
    if output is not None:
        description = f"{found.base.description}, calibrated"
        text = profile_text(gpu, name=output.stem, description=description, leaves=found.leaves())
        write_file(text.encode(), output)
    if style == "json":
        write(json.dumps(report, indent=2, allow_nan=False) + "\n", None)
    elif style == "csv":
        emit(report["constants"], str, style="csv", output=None)
        for left_out in report["left_out"]:
            click.echo("left out: {rows} rows: {reason}".format_map(left_out), err=True)
    else:
        write(calibration_table(report), None)


@contextmanager
def _status() -> Iterator[Callable[[str], None]]:
    """What is being done, on stderr, where that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console

    with Console(stderr=True).status("reading") as status:
        yield status.update
