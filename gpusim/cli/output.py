"""Writing results: as a table, JSON or CSV, and without leaving half a file."""

import csv
import io
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any, TypeVar

import click

from gpusim.errors import SpecError, plain

F = TypeVar("F", bound=Callable[..., Any])


def not_an_input(output: Path | None, *inputs: Sequence[str], option: str = "--output") -> None:
    """Refuse to write over a file that is read.

    Raises:
        SpecError: if the output, given by `option`, is one of the inputs.
    """
    if output is None or not output.exists():
        return
    for name in (name for group in inputs for name in group):
        if Path(name).exists() and output.samefile(name):
            raise SpecError(f"{option}: expected another file than the input, found {output}")


def not_the_same(files: Mapping[str, Path | None]) -> None:
    """Refuse to write two results to one file; `files` are those that are given, by option.

    Raises:
        SpecError: if two of them are the same.
    """
    given = [(name, path) for name, path in files.items() if path is not None]
    for (name, path), (other, same) in combinations(given, 2):
        if path.resolve() == same.resolve():
            raise SpecError(f"{other}: expected another file than {name}, found {plain(str(same))}")


def emit(
    rows: Sequence[Mapping[str, Any]],
    table: Callable[[], str],
    *,
    style: str,
    output: Path | None,
) -> None:
    """Write rows as JSON or CSV, or the table that `table` draws."""
    if style == "json":
        text = json.dumps(list(rows), indent=2, allow_nan=False) + "\n"
    elif style == "csv":
        text = _csv([flat(row) for row in rows])
    else:
        text = table()
    write(text, output)


def write(text: str, output: Path | None) -> None:
    """Write a text to a file, or to standard output.

    Raises:
        SpecError: if that fails.
    """
    if output is not None:
        write_file(text.encode(), output)
        return
    with _said("standard output"):
        _print(text)


def write_file(content: bytes, output: Path) -> None:
    """Write a file.

    Raises:
        SpecError: if that fails.
    """
    with _said(str(output)):
        if output.exists() and not output.is_file():  # a device or a pipe
            output.write_bytes(content)
        else:
            _write_whole(output.resolve(), content)


@contextmanager
def _said(where: str) -> Iterator[None]:
    """Say where writing failed, and why."""
    try:
        yield
    except BrokenPipeError:
        raise  # the reader has seen enough
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        reason = getattr(error, "strerror", error)
        raise SpecError(f"{where}: expected to write to it, found: {reason}") from error


def _print(text: str) -> None:
    try:
        click.echo(text, nl=False)
    except UnicodeEncodeError as error:  # a terminal without box characters
        click.echo(text.encode(error.encoding, "replace").decode(error.encoding), nl=False)


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file all at once: the old content stays until the new one is complete."""
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".gpusim-")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        part.chmod(mode)
        part.replace(path)
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
