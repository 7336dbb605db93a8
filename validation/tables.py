"""Tables of the README, in Markdown."""

from collections.abc import Iterable, Sequence


def markdown(columns: tuple[str, str], rows: Iterable[Sequence[str]]) -> str:
    """A table of columns of words and columns of numbers; the numbers stand to the right."""
    words, numbers = (group.split("|") for group in columns)
    rule = ["---"] * len(words) + ["---:"] * len(numbers)
    lines = ([*words, *numbers], rule, *rows)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def percent(share: float | None, form: str = "") -> str:
    """Per cent in two digits or more; `form` '+' gives the sign as well.

    >>> percent(0.0734), percent(0.293), percent(-0.0004, "+"), percent(1.5, "+"), percent(None)
    ('7.3', '29', '+0.0', '+150', '')
    """
    if share is None:
        return ""
    places = 1 if round(abs(100 * share), 1) < 10 else 0
    return f"{round(100 * share, places) + 0.0:{form}.{places}f}"  # + 0.0: no minus before a zero
