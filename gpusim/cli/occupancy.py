"""`gpusim occupancy`."""

from dataclasses import asdict
from pathlib import Path

import click

from gpusim.cli.options import output_options
from gpusim.cli.output import emit


@click.command()
@click.option("--gpu", "gpus", multiple=True, help="GPU name or profile file; default: all.")
@click.option("--threads", type=int, required=True, help="Threads per CTA.")
@click.option("--registers", type=int, required=True, help="Registers per thread.")
@click.option(
    "--smem", type=int, default=0, show_default=True, help="Shared memory per CTA, bytes."
)
@output_options
def occupancy(
    gpus: tuple[str, ...],
    threads: int,
    registers: int,
    smem: int,
    style: str,
    output: Path | None,
) -> None:
    """Show how many CTAs of a kernel one SM holds, and what limits them."""
    from gpusim.errors import SpecError
    from gpusim.report.machines import occupancy_table
    from gpusim.schedules.occupancy import occupancy as ctas_of
    from gpusim.spec.load import load_gpu, shipped

    try:
        found = {
            gpu.name: ctas_of(gpu, threads=threads, registers=registers, smem_bytes=smem)
            for gpu in map(load_gpu, gpus or shipped("hardware"))
        }
    except ValueError as error:
        raise SpecError(f"--{error}".replace("--smem_bytes", "--smem")) from error
    rows = [{"gpu": name, **asdict(result)} for name, result in found.items()]
    emit(rows, lambda: occupancy_table(found), style=style, output=output)
