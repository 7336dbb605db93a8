"""`gpusim hardware [NAME]`."""

from pathlib import Path

import click

from gpusim.cli.options import output_options
from gpusim.cli.output import emit


@click.command()
@click.argument("name", required=False)
@output_options
def hardware(name: str | None, style: str, output: Path | None) -> None:
    """List the GPU profiles, or show the profile NAME with kind and source of every number."""
    from gpusim.report.machines import profile_table, profiles_table
    from gpusim.spec.load import load_gpu, shipped

    if name is None:
        gpus = [load_gpu(known) for known in shipped("hardware")]
        rows = [gpu.model_dump(exclude={"provenance"}) for gpu in gpus]
        emit(rows, lambda: profiles_table(gpus), style=style, output=output)
        return
    gpu = load_gpu(name)
    rows = gpu.numbers()
    emit(rows, lambda: profile_table(gpu), style=style, output=output)
