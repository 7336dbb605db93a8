"""Tables of a page: columns of numbers that share a unit and line up at their point."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

#: Significant digits of the least number of a column, and of the greatest at most.
LEAST_DIGITS, MOST_DIGITS = 3, 5
_TIMES = ((1e6, "s"), (1e3, "ms"), (1.0, "\N{MICRO SIGN}s"))
_BYTES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name, the unit of its numbers if they have one, a text a row.

    Attributes:
        right: aligned right, as numbers are.
        wraps: sentences, which take what width is left.
    """

    name: str
    cells: tuple[str, ...]
    unit: str = ""
    right: bool = False
    wraps: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table: a caption, and columns of equal length, of which the first names the row.

    Attributes:
        groups: of each row what it shares with the next ones, which is said once above them.
        best: the rows that stand out.
        folded: closed until the reader opens it; paper shows it open.
    """

    caption: str
    columns: tuple[Column, ...]
    groups: tuple[str, ...] = ()
    best: frozenset[int] = frozenset()
    folded: bool = False

    @property
    def rows(self) -> list[tuple[str, list[tuple[Column, str]]]]:
        """Row by row: the group if another one begins here, then each cell with its column."""
        texts = zip(*(column.cells for column in self.columns), strict=True)
        rows = [list(zip(self.columns, row, strict=True)) for row in texts]
        groups = self.groups or ("",) * len(rows)
        begins = [i == 0 or groups[i] != groups[i - 1] for i in range(len(rows))]
        return [(groups[i] if begins[i] else "", row) for i, row in enumerate(rows)]


def words(name: str, cells: Iterable[object], *, wraps: bool = False) -> Column:
    """A column of text."""
    return Column(name, tuple(str(cell) for cell in cells), wraps=wraps)


def numbers(name: str, values: Iterable[float | None], unit: str = "") -> Column:
    """A column of numbers with as many digits after the point as the least of them needs."""
    return Column(name, tuple(aligned(list(values))), unit, right=True)


def times(name: str, values_us: Iterable[float | None]) -> Column:
    """A column of times in the unit that fits the least of them."""
    values = list(values_us)
    scale, unit = _unit(min(_sizes(values), default=1.0), _TIMES)
    return numbers(name, _over(values, scale), unit)


def sizes(name: str, values: Iterable[float | None]) -> Column:
    """A column of bytes in the decimal unit that fits the greatest of them."""
    found = list(values)
    scale, unit = _unit(max(_sizes(found), default=1.0), _BYTES)
    return numbers(name, _over(found, scale), unit)


def shares(name: str, values: Iterable[float | None]) -> Column:
    """A column of shares in whole per cent; nothing for None.

    >>> shares("tail", [0.28, None, 0.004]).cells
    ('28', '', '0')
    """
    cells = ("" if value is None else f"{100 * value:.0f}" for value in values)
    return Column(name, tuple(cells), "%", right=True)


def errors(name: str, values: Iterable[float | None], *, signed: bool = False) -> Column:
    """A column of relative errors in per cent, with one digit after the point.

    >>> errors("bias", [-0.0312, 0.4], signed=True).cells
    ('\N{MINUS SIGN}3.1', '+40.0')
    """
    sign = "+" if signed else ""
    cells = ("" if value is None else _minus(f"{100 * value:{sign}.1f}") for value in values)
    return Column(name, tuple(cells), "%", right=True)


def aligned(values: Sequence[float | None]) -> list[str]:
    """Numbers with the same digits after the point; nothing for None.

    >>> aligned([247.31, 5190.2, None]), aligned([0.5, 5190.2]), aligned([-1.5, 0])
    (['247', '5,190', ''], ['0.5', '5,190.2'], ['\N{MINUS SIGN}1.50', '0.00'])
    """
    found = _sizes(values)
    if all(value is None or float(value).is_integer() for value in values):
        places = 0
    else:
        wanted = LEAST_DIGITS - _digits_before_point(min(found))
        places = max(0, min(wanted, 3, MOST_DIGITS - _digits_before_point(max(found))))
    return ["" if value is None else _minus(f"{value:,.{places}f}") for value in values]


def one_number(value: float) -> str:
    """A number for a sentence, with three digits.

    >>> one_number(12345.6), one_number(0.5)
    ('12,346', '0.500')
    """
    return aligned([value])[0]


def time_of(us: float) -> tuple[str, str]:
    """A time with three digits, and its unit.

    >>> time_of(84543.7)
    ('84.5', 'ms')
    """
    scale, unit = _unit(us, _TIMES)
    return aligned([us / scale])[0], unit


def one_time(us: float) -> str:
    """A time for a sentence, with three digits and its unit.

    >>> one_time(84543.7)
    '84.5\N{NO-BREAK SPACE}ms'
    """
    return "\N{NO-BREAK SPACE}".join(time_of(us))


def one_size(count: float) -> str:
    """Bytes with their unit, with three digits."""
    scale, unit = _unit(count, _BYTES)
    return f"{aligned([count / scale])[0]}\N{NO-BREAK SPACE}{unit}"


def one_share(value: float) -> str:
    """A share in per cent, with a digit after the point where it says something.

    >>> one_share(0.031), one_share(0.64)
    ('3.1\N{NO-BREAK SPACE}%', '64\N{NO-BREAK SPACE}%')
    """
    return f"{100 * value:.{1 if abs(value) < 0.0995 else 0}f}\N{NO-BREAK SPACE}%"


def _digits_before_point(value: float) -> int:
    """1 for 5, 3 for 247; 0 for 0.5, -1 for 0.05."""
    count = 0
    while value >= 10**count:
        count += 1
    while 0 < value < 10.0 ** (count - 1):
        count -= 1
    return count


def _sizes(values: Iterable[float | None]) -> list[float]:
    """Magnitudes, without zeros."""
    return [abs(value) for value in values if value]


def _over(values: Iterable[float | None], scale: float) -> list[float | None]:
    return [None if value is None else value / scale for value in values]


def _unit(value: float, units: Sequence[tuple[float, str]]) -> tuple[float, str]:
    return next((unit for unit in units if value >= unit[0]), units[-1])


def _minus(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")
