"""`gpusim tune WORKLOAD...`."""

from functools import partial
from pathlib import Path

import click

from gpusim.cli.options import output_options, triton_option, workers_option, workloads_and_gpus
from gpusim.cli.output import emit, not_an_input, not_the_same, write_file


@click.command()
@workloads_and_gpus
@click.option("--schedule", "schedules", multiple=True, help="Only this one; may be repeated.")
@click.option(
    "--approximate",
    is_flag=True,
    help="Also schedules that sample, or compute in a lower precision.",
)
@click.option("--exhaustive", is_flag=True, help="Simulate everything that fits: slow.")
@partial(workers_option, default=1, says="Processes; each searches for one GPU at a time.")
@triton_option
@output_options
def tune(  # noqa: PLR0913 - an argument for each option
    workloads: tuple[str, ...],
    gpus: tuple[str, ...],
    schedules: tuple[str, ...],
    approximate: bool,
    exhaustive: bool,
    workers: int,
    triton: Path | None,
    style: str,
    output: Path | None,
) -> None:
    """Find the best tiles, warps, stages, splits and schedule for each WORKLOAD and GPU.

    What fits is searched by the closed form; the simulator decides among the finalists. Printed are
    the best, those within 3 % of it, and every schedule as it is, with what limits each.

    Options that the workload gives to a schedule are kept. Without --gpu, the GPUs that the
    workload names run; if it names none, A100, H100 and RTX 6000 Ada.
    """
    from gpusim.report.triton_configs import triton_json, triton_module
    from gpusim.report.tune import tuning_table
    from gpusim.study.tune import tune_files

    not_an_input(output, workloads, gpus)
    not_an_input(triton, workloads, gpus, option="--export-triton")
    not_the_same({"--output": output, "--export-triton": triton})
    found = tune_files(
        workloads,
        gpus=gpus,
        schedules=schedules,
        approximate=approximate,
        exhaustive=exhaustive,
        list_fits=triton is not None,
        workers=workers,
    )
    for tuned in found:
        for reason in tuned.skipped:
            click.echo(f"left out: {reason}", err=True)
    rows = [row for tuned in found for row in tuned.as_rows(options_text=style != "json")]
    if triton is not None:
        fits = [fit.as_dict() for tuned in found for fit in tuned.fits]
        text = triton_json(fits) if triton.suffix.lower() == ".json" else triton_module(fits)
        write_file(text.encode(), triton)
    emit(rows, lambda: tuning_table(rows), style=style, output=output)
