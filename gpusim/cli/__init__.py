"""The `gpusim` command: each command loads, calls one public function, and prints."""

import sys
from importlib import import_module

import click

from gpusim.errors import SpecError
from gpusim.version import __version__

#: Commands with the line that `gpusim --help` shows; their modules are imported when they run.
COMMANDS = {
    "simulate": "Predict a workload: time, bound, occupancy, traffic, and why.",
    "compare": "Rank schedules on a workload, and say why the others lose.",
    "sweep": "Predict thousands of points, a row each: shapes, tiles, what-if profiles.",
    "tune": "Find the best tiles, warps, stages, splits and schedule for a workload.",
    "occupancy": "CTAs per SM of a kernel, what limits them, what one more would need.",
    "plan": "GPUs and price that hold latency targets for a model and its traffic.",
    "validate": "Predict measured rows, and say how far predictions lie from them.",
    "calibrate": "Fit a profile's physical constants to measured rows.",
    "hardware": "List the GPU profiles, or show one with the source of every number.",
    "schema": "JSON Schema of the input files, for editors.",
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"gpusim.cli.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gpusim")
def gpusim() -> None:
    """Predict what an attention schedule will do on a GPU, before anyone writes a kernel."""


def main() -> None:
    """Run the command line: exit 0; 2 and one line for the user's mistake; 1 for our failure."""
    try:
        status = gpusim.main(prog_name="gpusim", standalone_mode=False)
    except SpecError as error:
        _complain(str(error))
        status = 2
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        status = 2
    except click.ClickException as error:
        _complain(error.format_message())
        status = 2
    except click.Abort:
        click.echo("gpusim: interrupted", err=True)
        status = 130
    sys.exit(status if isinstance(status, int) else 0)


def _complain(message: str) -> None:
    """Print one line on stderr, whatever a file name or a value in it holds."""
    line = "".join(c if c.isprintable() else " " for c in message)
    click.echo(f"gpusim: {' '.join(line.split())}", err=True)
