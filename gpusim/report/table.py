"""What all tables for the terminal share."""

from io import StringIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from gpusim.units import digits


def render(drawn: Table) -> str:
    """The table as plain text, as wide as it needs to be."""
    text = StringIO()
    wide = Console(file=text, width=400, color_system=None, markup=False, emoji=False)
    wide.print(drawn)
    lines = [line.rstrip() for line in text.getvalue().splitlines()]
    return "\n".join(lines).strip("\n") + "\n"


def table(columns: str, title: str | None = None) -> Table:
    """An empty table: columns by name; a leading '>' aligns right."""
    made = Table(box=SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for name in columns.split("|"):
        right = name.startswith(">")
        made.add_column(name.lstrip(">"), justify="right" if right else "left", no_wrap=True)
    return made


def bytes_text(value: float) -> str:
    """Bytes with three digits in decimal units.

    >>> bytes_text(134_200_000)
    '134 MB'
    """
    for scale, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= scale:
            return f"{digits(value / scale)} {unit}"
    return f"{value:.0f} B"


def percent(value: float) -> str:
    """A share in whole per cent."""
    return f"{100 * value:.0f}%"


def share(value: float | None) -> str:
    """Per cent, with a digit after the point where it says something.

    >>> share(0.0312), share(0.42), share(None)
    ('3.1%', '42%', '')
    """
    if value is None:
        return ""
    return f"{100 * value:.1f}%" if value < 0.1 else percent(value)


def signed(value: float | None) -> str:
    """Per cent with its sign.

    >>> signed(-0.0312), signed(None)
    ('-3.1%', '')
    """
    return "" if value is None else f"{100 * value:+.1f}%"


def marked(name: str, approximation: str) -> str:
    """A schedule's name, with what its answer lacks.

    >>> marked("santa_flash", "sampled"), marked("flash2", "")
    ('santa_flash (sampled)', 'flash2')
    """
    return f"{name} ({approximation})" if approximation else name
