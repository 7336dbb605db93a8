"""Reads the cells of a CSV file, strictly: mistakes name file and line."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from gpusim.errors import SpecError


def csv_lines(path: Path) -> Iterator[tuple[list[str], str]]:
    """The stripped cells of each line that is not blank, and where it begins.

    Raises:
        SpecError: naming file and line, for a file that is no CSV, or cannot be read.
    """
    reader = csv.reader(io.StringIO(_text_of(path), newline=""), strict=True)
    where = f"{path}: line 1"
    try:
        for raw in reader:
            cells = [cell.strip() for cell in raw]
            if cells not in ([], [""]):
                yield cells, where
            where = f"{path}: line {reader.line_num + 1}"
    except csv.Error as error:
        open_quote = str(error) == "unexpected end of data"
        found = " a quote that is not closed" if open_quote else f": {error}"
        raise SpecError(f"{where}: expected CSV with commas, found{found}") from error


def _text_of(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise SpecError(f"{path}: expected a readable file, found: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = len((error.object[: error.start] + b"x").splitlines())
        byte = error.object[error.start]
        raise SpecError(
            f"{path}: line {line}: expected UTF-8, found the byte 0x{byte:02x}"
        ) from error
