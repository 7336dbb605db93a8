"""`gpusim simulate WORKLOAD...`."""

from pathlib import Path
from typing import Any

import click

from gpusim.cli.options import engine_option, output_options, workloads_and_gpus
from gpusim.cli.output import emit, not_an_input
from gpusim.cli.pictures import Pictures, picture_options


@click.command()
@workloads_and_gpus
@click.option("--schedule", "schedules", multiple=True, help="Schedule name; may be repeated.")
@engine_option
@picture_options
@output_options
def simulate(
    workloads: tuple[str, ...],
    gpus: tuple[str, ...],
    schedules: tuple[str, ...],
    engine: str,
    style: str,
    output: Path | None,
    **pictures: Any,
) -> None:
    """Predict each WORKLOAD (a shipped name or a YAML file) for its GPUs and schedules.

    Without --gpu and --schedule, those that the workload names run; if it names none, A100, H100
    and RTX 6000 Ada, with every schedule that can take the workload.
    """
    from gpusim.cli.pages import simulate_report
    from gpusim.report.results import results_table
    from gpusim.study.files import simulate_files

    not_an_input(output, workloads, gpus)
    drawn = Pictures(engine=engine, default="overview", **pictures)
    drawn.check(output, workloads, gpus)
    run = simulate_files(
        workloads, gpus=gpus, schedules=schedules, engine=engine, trace=drawn.traced
    )
    for reason in run.skipped:
        click.echo(f"left out: {reason}", err=True)
    for note in run.notes:
        click.echo(f"note: {note}", err=True)
    drawn.write(run.cases)
    if drawn.report is not None:
        simulate_report(drawn.report, run, workloads, gpus)
    rows = [result.as_dict() for result in run.results]
    emit(rows, lambda: results_table(run.results), style=style, output=output)
