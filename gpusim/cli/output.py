"""What all commands share: `--format`, `--output`, and writing without leaving half a file."""

import csv
import io
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from gpusim.errors import SpecError

F = TypeVar("F", bound=Callable[..., Any])


def output_options(command: F) -> F:
    """Add `--format` and `--output` to a command."""
    command = click.option(
        "--output",
        type=click.Path(dir_okay=False, path_type=Path),
        callback=_writable,
        help="Write to this file instead of standard output.",
    )(command)
    return click.option(
        "--format",
        "style",
        type=click.Choice(["table", "json", "csv"]),
        default="table",
        show_default=True,
        help="How to print the result.",
    )(command)


def _writable(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:  # noqa: ARG001
    if value is not None and not value.parent.is_dir():
        raise SpecError(f"--output: expected an existing folder, found {value.parent}")
    return value


def emit(
    rows: Sequence[Mapping[str, Any]],
    table: Callable[[], str],
    *,
    style: str,
    output: Path | None,
) -> None:
    """Print rows as JSON or CSV, or the table that `table` draws, to the file or standard output."""
    if style == "json":
        text = json.dumps(list(rows), indent=2, allow_nan=False) + "\n"
    elif style == "csv":
        text = _csv([flat(row) for row in rows])
    else:
        text = table()
    if output is None:
        click.echo(text, nl=False)
    else:
        write_whole(output, text)


def write_whole(path: Path, text: str) -> None:
    """Write a file all at once: the old content stays until the new one is complete.

    Raises:
        SpecError: if the file cannot be written.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise SpecError(f"{path}: expected a writable folder, found: {error.strerror}") from error
    part = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        part.chmod(0o666 & ~_umask())
        part.replace(path)
    except OSError as error:
        raise SpecError(f"{path}: expected a writable file, found: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def flat(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted columns; lists (the launches) are left out.

    >>> flat({"gpu": "x", "flop": {"useful": 1.0}, "launches": [{}]})
    {'gpu': 'x', 'flop.useful': 1.0}
    """
    columns: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, Mapping):
            columns |= flat(value, f"{prefix}{key}.")
        elif not isinstance(value, list):
            columns[f"{prefix}{key}"] = value
    return columns


def _csv(rows: list[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
