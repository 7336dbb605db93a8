"""`gpusim schema KIND`."""

import json
from pathlib import Path

import click

from gpusim.cli.output import write_whole


@click.command()
@click.argument("kind", type=click.Choice(["workload", "hardware"]))
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file."
)
def schema(kind: str, output: Path | None) -> None:
    """Print the JSON Schema of a workload or hardware file, for completion in editors."""
    from gpusim.spec.schema import file_schema

    text = json.dumps(file_schema(kind), indent=2) + "\n"
    if output is None:
        click.echo(text, nl=False)
    else:
        write_whole(output, text)
