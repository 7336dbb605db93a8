"""Reads CSV files of measured rows, strictly: mistakes name file, line and column."""

import math
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from gpusim.errors import SpecError, excerpt, nearest, plain
from gpusim.schedules.catalogue import check_choice
from gpusim.spec.attention import Attention
from gpusim.spec.csv_file import csv_lines
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

#: Of calls that a benchmark repeats.
MOST_CALLS = 10**6

_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_INTEGER = re.compile(r"(-?[0-9]{1,4000})(\.0+)?")  # Python reads no more than 4300 digits


def read_measured(path: Path) -> list[MeasuredRow]:
    """Read a CSV of measured rows.

    Raises:
        SpecError: naming file, line and column, for whatever is missing, unknown or malformed.
    """
    lines = csv_lines(path)
    header, where = next(lines, ([], ""))
    if not header:
        raise SpecError(f"{path}: expected a header and rows, found an empty file")
    _check_header(header, where)
    rows = [_row(_named(header, cells, where), where) for cells, where in lines]
    if not rows:
        raise SpecError(f"{path}: expected rows after the header, found none")
    return rows


def _named(header: list[str], cells: list[str], where: str) -> dict[str, str]:
    if len(cells) == 1:
        raise SpecError(f"{where}: expected CSV with commas, found {excerpt(cells[0])}")
    if len(cells) != len(header):
        raise SpecError(f"{where}: expected {len(header)} values, found {len(cells)}")
    return dict(zip(header, cells, strict=True))


def _check_header(header: list[str], where: str) -> None:
    if len(header) == 1:
        raise SpecError(f"{where}: expected CSV with commas, found {excerpt(header[0])}")
    known = (*COLUMNS, *MAY_LACK)
    for index, name in enumerate(header):
        column = f"{where}, column {plain(name) or index + 1}"
        if name not in known:
            hint = nearest(name, known) or f"; known: {', '.join(known)}"
            raise SpecError(f"{column}: expected a known column{hint}")
        if name in header[:index]:
            raise SpecError(f"{column}: expected once, found twice")
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise SpecError(f"{where}: expected the column {missing[0]}, found none")


def _row(cells: Mapping[str, str], where: str) -> MeasuredRow:
    values: dict[str, Any] = {}
    for name, cell in cells.items():
        try:
            values[name] = _value(name, cell)
        except SpecError as error:
            raise SpecError(f"{where}, column {name}: {error}") from error
    attention = _attention(values, where)
    texts = {name: values[name] for name in (*TEXTS, "l2", "measured_us")}
    before, timed = values.get("calls_before") or 0, values.get("calls_timed")
    if before and not timed:
        raise SpecError(f"{where}, column calls_timed: expected beside calls_before, found none")
    calls = (before, before + timed) if timed else None
    return MeasuredRow(attention=attention, calls=calls, **texts)


def _attention(values: Mapping[str, Any], where: str) -> Attention:
    """The problem of a row; the paths in mistakes are columns."""
    try:
        return attention_of(values, where)
    except SpecError as error:
        text = str(error).removeprefix(f"{where}: ").removeprefix("sequences[0].")
        text = re.sub("^sequences:", "batch:", text)
        raise SpecError(f"{where}: {text}") from error


def _value(name: str, cell: str) -> Any:
    if name in (*COUNTS, *OPTIONAL_COUNTS):
        return _count(name, cell)
    if name == "measured_us":
        return _expect("microseconds, more than 0", cell, _positive(cell))
    if name == "causal":
        return _expect("true or false", cell, _FLAGS.get(cell.lower()))
    if name == "l2":
        return _expect("warm or cold", cell, cell if cell in ("warm", "cold") else None)
    return _text(name, cell)


def _count(name: str, cell: str) -> int | None:
    """An integer in the range of the column; an optional one may also be empty or 0, for none."""
    optional = name in OPTIONAL_COUNTS
    if optional and not cell:
        return None
    written = _INTEGER.fullmatch(cell)
    number = _expect("an integer", cell, int(written[1]) if written else None)
    if optional and number == 0:
        return None
    least, most = _ranges()[name]
    inside = least <= number <= most
    return int(_expect(f"an integer from {least} to {most}", cell, number if inside else None))


@cache
def _ranges() -> dict[str, tuple[int, int]]:
    """Least and greatest integer of each column of counts, as the problem has them."""
    schema = Attention.model_json_schema()
    sequence = schema["$defs"]["Sequence"]["properties"]
    fields = schema["properties"] | sequence | {"batch": sequence["count"]}
    kinds = {name: fields[name] for name in (*COUNTS, *OPTIONAL_COUNTS) if name in fields}
    integers = {name: kind.get("anyOf", [kind])[0] for name, kind in kinds.items()}
    ranges = {name: (kind["minimum"], kind["maximum"]) for name, kind in integers.items()}
    return ranges | dict.fromkeys(("calls_before", "calls_timed"), (1, MOST_CALLS))


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
