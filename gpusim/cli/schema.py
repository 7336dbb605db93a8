"""`gpusim schema KIND`."""

import json
from pathlib import Path

import click

from gpusim.cli.options import output_option
from gpusim.cli.output import write


@click.command()
@click.argument("kind", type=click.Choice(["workload", "plan", "sweep", "hardware"]))
@output_option
def schema(kind: str, output: Path | None) -> None:
    """Print the JSON Schema of a kind of input file, for completion in editors."""
    from gpusim.spec.schema import file_schema

    write(json.dumps(file_schema(kind), indent=2) + "\n", output)
