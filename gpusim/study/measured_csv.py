"""Reads CSV files of measured rows, strictly: mistakes name file, line and column."""

import csv
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gpusim.errors import SpecError, excerpt, nearest, plain
from gpusim.schedules.catalogue import check_choice
from gpusim.spec.load import load_gpu
from gpusim.study.measured import (
    COLUMNS,
    COUNTS,
    MAY_LACK,
    OPTIONAL_COUNTS,
    TEXTS,
    MeasuredRow,
    attention_of,
)

_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_INTEGER = re.compile(r"[0-9]{1,12}(\.0+)?")


def read_measured(path: Path) -> list[MeasuredRow]:
    """Read a CSV of measured rows.

    Raises:
        SpecError: naming file, line and column, for whatever is missing, unknown or malformed.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(_rows(path, csv.reader(file, strict=True)))
    except OSError as error:
        raise SpecError(f"{path}: expected a readable file, found: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise SpecError(f"{path}: expected CSV in UTF-8, found: {error}") from error


def _rows(path: Path, reader: Any) -> Iterator[MeasuredRow]:
    header = next(reader, None)
    if header is None:
        raise SpecError(f"{path}: expected a header and rows, found an empty file")
    _check_header(path, header)
    found = False
    for cells in reader:
        if not cells:
            continue
        where = f"{path}: line {reader.line_num}"
        if len(cells) != len(header):
            raise SpecError(f"{where}: expected {len(header)} values, found {len(cells)}")
        yield _row(dict(zip(header, (c.strip() for c in cells), strict=True)), where)
        found = True
    if not found:
        raise SpecError(f"{path}: expected rows after the header, found none")


def _check_header(path: Path, header: list[str]) -> None:
    known = (*COLUMNS, *MAY_LACK)
    for index, name in enumerate(header):
        where = f"{path}: line 1, column {plain(name) or index + 1}"
        if name not in known:
            raise SpecError(f"{where}: expected a known column{nearest(name, known)}")
        if name in header[:index]:
            raise SpecError(f"{where}: expected once, found twice")
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise SpecError(f"{path}: line 1: expected the column {missing[0]}, found none")


def _row(cells: Mapping[str, str], where: str) -> MeasuredRow:
    values: dict[str, Any] = {}
    for name, cell in cells.items():
        try:
            values[name] = _value(name, cell)
        except SpecError as error:
            raise SpecError(f"{where}, column {name}: {error}") from error
    attention = attention_of(values, where)
    texts = {name: values[name] for name in (*TEXTS, "l2", "measured_us")}
    return MeasuredRow(attention=attention, **texts)


def _value(name: str, cell: str) -> Any:
    if name in (*COUNTS, *OPTIONAL_COUNTS):
        if not cell and name in OPTIONAL_COUNTS:
            return None
        return _expect("an integer", cell, int(float(cell)) if _INTEGER.fullmatch(cell) else None)
    if name == "measured_us":
        return _expect("microseconds, more than 0", cell, _positive(cell))
    if name == "causal":
        return _expect("true or false", cell, _FLAGS.get(cell.lower()))
    if name == "l2":
        return _expect("warm or cold", cell, cell if cell in ("warm", "cold") else None)
    return _text(name, cell)


def _text(name: str, cell: str) -> str | None:
    if name == "kv_dtype" and not cell:
        return None
    _expect("a value", cell, cell or None)
    if name == "gpu":
        load_gpu(cell)
    if name == "kernel":
        check_choice(cell, {}, where="name")
    return cell


def _positive(cell: str) -> float | None:
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) and number > 0 else None


def _expect(what: str, cell: str, value: Any) -> Any:
    if value is None:
        raise SpecError(f"expected {what}, found {excerpt(cell) if cell else 'none'}")
    return value
