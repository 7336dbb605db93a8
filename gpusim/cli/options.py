"""Options that commands share."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from gpusim.errors import SpecError, plain
from gpusim.report.figures import FORMATS

F = TypeVar("F", bound=Callable[..., Any])


def workloads_and_gpus(command: F) -> F:
    """Add the WORKLOAD arguments and `--gpu` to a command."""
    gpus = click.option(
        "--gpu", "gpus", multiple=True, help="GPU name or profile file; may be repeated."
    )
    return click.argument("workloads", nargs=-1, required=True, metavar="WORKLOAD...")(
        gpus(command)
    )


def engine_option(
    command: F, *, default: str = "sim", says: str = "Discrete events, or closed form."
) -> F:
    """Add `--engine` to a command."""
    return click.option(
        "--engine",
        type=click.Choice(["sim", "analytic"]),
        default=default,
        show_default=True,
        help=says,
    )(command)


def output_option(command: F, *, says: str = "Write to this file instead of standard output.") -> F:
    """Add `--output` to a command."""
    return click.option(
        "--output",
        type=click.Path(dir_okay=False, path_type=Path),
        callback=_in_a_folder,
        help=says,
    )(command)


def format_option(command: F) -> F:
    """Add `--format` to a command."""
    return click.option(
        "--format",
        "style",
        type=click.Choice(["table", "json", "csv"]),
        default="table",
        show_default=True,
        help="How to print the result.",
    )(command)


def output_options(command: F) -> F:
    """Add `--format` and `--output` to a command."""
    return format_option(output_option(command))


def workers_option(
    command: F, *, default: int | None = None, says: str = "Processes; default: one for each CPU."
) -> F:
    """Add `--workers` to a command."""
    return click.option(
        "--workers",
        type=click.IntRange(1, 256),
        default=default,
        show_default=default is not None,
        help=says,
    )(command)


def plot_option(command: F) -> F:
    """Add `--plot` to a command."""
    return click.option(
        "--plot",
        type=click.Path(dir_okay=False, path_type=Path),
        callback=_with_suffix(*(f".{name}" for name in FORMATS)),
        help=f"Draw the result to this file, by its suffix: {', '.join(FORMATS)}.",
    )(command)


def trace_option(command: F) -> F:
    """Add `--trace` to a command."""
    return click.option(
        "--trace",
        type=click.Path(dir_okay=False, path_type=Path),
        callback=_in_a_folder,
        metavar="FILE.json",
        help="Write a timeline of every CTA for ui.perfetto.dev; --engine sim only.",
    )(command)


def report_option(command: F) -> F:
    """Add `--report` to a command."""
    return click.option(
        "--report",
        type=click.Path(dir_okay=False, path_type=Path),
        callback=_with_suffix(".html"),
        help="Also write a page for people to this file: .html, all in one, to read and print.",
    )(command)


def triton_option(command: F) -> F:
    """Add `--export-triton` to a command."""
    return click.option(
        "--export-triton",
        "triton",
        type=click.Path(dir_okay=False, path_type=Path),
        callback=_with_suffix(".py", ".json"),
        help="Also write all that fits as Triton autotune configurations: .py or .json.",
    )(command)


def _with_suffix(*suffixes: str) -> Callable[[click.Context, click.Parameter, Any], Path | None]:
    """A callback that refuses another format before the work is done."""
    few = len(suffixes) < 3
    said = (
        f"the suffix {' or '.join(suffixes)}"
        if few
        else f"one of the suffixes {', '.join(suffixes)}"
    )

    def check(context: click.Context, option: click.Parameter, value: Path | None) -> Path | None:
        if value is not None and value.suffix.lower() not in suffixes:
            found = plain(str(value))
            raise SpecError(f"{option.opts[0]}: expected a file with {said}, found {found}")
        return _in_a_folder(context, option, value)

    return check


def _in_a_folder(_: click.Context, option: click.Parameter, value: Path | None) -> Path | None:
    """Refuse a path in no folder before the work is done."""
    if value is None:
        return None
    try:
        if value.parent.is_dir():
            _check_writable(value)
            return value
        found = str(value.parent)
    except OSError as error:
        found = f"{plain(str(value.parent))} ({error.strerror})"
    raise SpecError(f"{option.opts[0]}: expected an existing folder, found {found}")


def _check_writable(path: Path) -> None:
    """Refuse what must not be written to before the work is done."""
    exists = os.access(path, os.F_OK)
    folder = Path(os.path.realpath(path)).parent
    into_folder = (path.is_file() or not exists) and folder.is_dir()  # a file is replaced there
    if (exists and not os.access(path, os.W_OK)) or (
        into_folder and not os.access(folder, os.W_OK)
    ):
        raise SpecError(
            f"{plain(str(path))}: expected to write to it, found: {os.strerror(errno.EACCES)}"
        )
