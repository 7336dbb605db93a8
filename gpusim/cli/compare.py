"""`gpusim compare WORKLOAD...`."""

from pathlib import Path
from typing import Any

import click

from gpusim.cli.options import engine_option, output_options, workloads_and_gpus
from gpusim.cli.output import emit, not_an_input
from gpusim.cli.pictures import Pictures, picture_options


@click.command()
@workloads_and_gpus
@click.option("--schedule", "schedules", multiple=True, help="Only this one; may be repeated.")
@click.option(
    "--baseline", metavar="NAME", help="Schedule to compare with; default: the best exact."
)
@engine_option
@picture_options
@output_options
def compare(
    workloads: tuple[str, ...],
    gpus: tuple[str, ...],
    schedules: tuple[str, ...],
    baseline: str | None,
    engine: str,
    style: str,
    output: Path | None,
    **pictures: Any,
) -> None:
    """Rank schedules on each WORKLOAD (a shipped name or a YAML file), and say why they lose.

    The schedules that the workload names run with their options, and every other one that can
    take it; --schedule picks some of them. Without --gpu, the GPUs that the workload names run;
    if it names none, A100, H100 and RTX 6000 Ada.

    Schedules with another answer than exact attention in the workload's types stand at their place,
    marked (sampled) or (lower precision). The best, which ratios and reasons refer to, is the
    fastest of the others.
    """
    from gpusim.cli.pages import compare_report
    from gpusim.report.compare import comparison_table
    from gpusim.study.compare import compare_files

    not_an_input(output, workloads, gpus)
    drawn = Pictures(engine=engine, default="breakdown", **pictures)
    drawn.check(output, workloads, gpus)
    found = compare_files(
        workloads,
        gpus=gpus,
        schedules=schedules,
        baseline=baseline,
        engine=engine,
        trace=drawn.traced,
    )
    for reason in found.skipped:
        click.echo(f"left out: {reason}", err=True)
    for note in found.notes:
        click.echo(f"note: {note}", err=True)
    drawn.write(found.cases)
    if drawn.report is not None:
        compare_report(drawn.report, found, workloads, gpus, baseline)
    rows = [entry.as_row() if style != "json" else entry.as_dict() for entry in found.entries]
    emit(rows, lambda: comparison_table(rows, baseline), style=style, output=output)
