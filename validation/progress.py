"""How far a program is: a bar on stderr, or plain lines where that is no terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn


@dataclass(frozen=True, slots=True)
class Telling:
    """What a program tells meanwhile.

    Attributes:
        begin: a part that begins now; the one before it has ended.
        say: a line that stays.
    """

    begin: Callable[[str], None]
    say: Callable[[str], None]


@contextmanager
def telling(total: int, *columns: ProgressColumn, every_s: float = 0.0) -> Iterator[Telling]:
    """Tell of so many parts; `columns` are the bar's last. Plain lines are `every_s` apart."""
    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    if not console.is_terminal:
        yield _lines(console, total, every_s)
        return
    shown = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), *columns)
    with Progress(*shown, console=console, transient=True) as progress:
        task = progress.add_task("", total=total, completed=-1)
        yield Telling(
            begin=lambda part: progress.update(task, advance=1, description=part),
            say=console.print,
        )


def _lines(console: Console, total: int, every_s: float) -> Telling:
    """A line when a part begins, unless the last one is younger than `every_s`."""
    first, done, said = time.monotonic(), 0, -float("inf")

    def begin(part: str) -> None:
        nonlocal done, said
        now = time.monotonic()
        if now - said >= every_s:
            said = now
            console.print(f"{done} of {total} done after {now - first:.0f} s; {part}")
        done += 1

    return Telling(begin=begin, say=console.print)
