"""The file of measured rows: read again, mended, and longer by one whole row at a time."""

import csv
import io
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from gpusim.errors import SpecError
from gpusim.study.measured import COLUMNS, MAY_LACK, MeasuredRow
from gpusim.study.measured_csv import read_measured


def _line(cells: Sequence[object]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()


HEADER = _line((*COLUMNS[:-1], *MAY_LACK, COLUMNS[-1]))


def read_rows(path: Path) -> list[MeasuredRow]:
    """Rows of a file, without a last line that was broken off; none if there is no file.

    Raises:
        SpecError: for a file that cannot be read, is not one of ours, or has a mistake in a row.
    """
    content = _whole_lines(path)
    if content in (b"", HEADER):
        return []
    with TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        copy.write_bytes(content)
        try:
            return read_measured(copy)
        except SpecError as error:
            raise SpecError(str(error).replace(str(copy), str(path))) from error


def mend(path: Path) -> None:
    """Cut off what a crash has left of a line, and begin a new file with its header.

    Raises:
        SpecError: for a file that is not one of ours, or cannot be written.
    """
    content = _whole_lines(path)
    try:
        with path.open("ab") as file:
            file.truncate(len(content))
        if not content:
            _append(path, HEADER)
    except OSError as error:
        raise SpecError(f"{path}: expected to write to it, found: {error.strerror}") from error


def add_row(path: Path, row: MeasuredRow) -> None:
    """Write a row at the end, in one piece, and to the disk before this returns.

    Raises:
        SpecError: if it cannot be written.
    """
    try:
        _append(path, _line(list(row.as_row().values())))
    except OSError as error:
        raise SpecError(f"{path}: expected to write to it, found: {error.strerror}") from error


def _append(path: Path, line: bytes) -> None:
    with path.open("ab", buffering=0) as file:
        written = file.write(line)
        os.fsync(file.fileno())
    if written != len(line):
        raise OSError(0, f"{written} of {len(line)} bytes written")


def _whole_lines(path: Path) -> bytes:
    """A file's content up to its last line break, header first; empty without a file."""
    content = b""
    try:
        with suppress(FileNotFoundError):
            content = path.read_bytes()
    except OSError as error:
        raise SpecError(f"{path}: expected a readable file, found: {error.strerror}") from error
    if not content.startswith(HEADER) and not HEADER.startswith(content):
        raise SpecError(f"{path}: expected rows of validation.measure, found another file")
    return content[: content.rfind(b"\n") + 1]
