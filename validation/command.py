"""How a program of this folder ends: its exit status, and one line for what the user got wrong."""

import sys
from typing import NoReturn

import click

from gpusim.errors import SpecError


def run_command(command: click.Command, name: str) -> NoReturn:
    """Exit with what the command returns; 2 for the user's mistake, 130 if interrupted."""
    try:
        status = command.main(prog_name=f"python -m validation.{name}", standalone_mode=False)
    except (SpecError, click.ClickException) as error:
        message = error.format_message() if isinstance(error, click.ClickException) else str(error)
        click.echo(f"{name}: {' '.join(message.split())}", err=True)
        status = 2
    except click.Abort:
        click.echo(f"{name}: interrupted", err=True)
        status = 130
    sys.exit(status if isinstance(status, int) else 0)
