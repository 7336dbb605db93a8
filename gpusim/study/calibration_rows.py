"""The measured rows of a calibration: read, checked, drawn, and a part of them held back."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gpusim.errors import SpecError, plain
from gpusim.spec.load import lineage, load_gpu, shipped
from gpusim.study.measured import MeasuredRow
from gpusim.study.pairs import problem
from gpusim.study.validate import read_sources

#: Of the calls, one in so many is held back; of few, at least so many.
HELD_BACK, LEAST_HELD_BACK = 5, 2
#: With fewer, there is nothing to fit.
LEAST_ROWS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Rows to calibrate a profile on.

    Attributes:
        rows: all of them, or those drawn.
        left_out: rows that are not modelled, by reason.
        name: of the sources, in words.
    """

    rows: list[MeasuredRow]
    left_out: Counter[str]
    name: str


def draw(sources: Sequence[str], gpu: str, *, sample: int | None = None, seed: int = 0) -> Drawn:
    """Read the rows of a GPU.

    Args:
        sources: CSV files or datasets, as `gpusim validate` takes them.
        gpu: name or file of the profile; rows name it, or the shipped one that a file extends.
        sample: take so many rows, drawn at random by `seed`; by default all.
        seed: of this draw.

    Raises:
        SpecError: for a mistake in a file, or rows of another GPU.
    """
    rows: list[MeasuredRow] = []
    left_out: Counter[str] = Counter()
    for source in dict.fromkeys(sources):
        more, out = read_sources([source])
        _check_gpu(more, gpu, source)
        rows += more
        left_out += out
    if sample is not None and sample < len(rows):
        drawn = np.random.default_rng(seed).choice(len(rows), sample, replace=False)
        rows = [rows[i] for i in np.sort(drawn)]
    return Drawn(rows=rows, left_out=left_out, name=_named(sources))


def check_count(rows: Sequence[MeasuredRow], name: str, refused: Mapping[str, int]) -> None:
    """Refuse to calibrate on nearly nothing, such as one call measured again and again.

    Raises:
        SpecError: with the first reason for which rows were refused.
    """
    calls = len({call_of(row) for row in rows})
    if calls < LEAST_ROWS:
        reason = "".join(f"; {reason}" for reason in list(refused)[:1])
        raise SpecError(
            f"{name}: expected at least {LEAST_ROWS} rows that can be predicted, each of another"
            f" call, found {calls}{reason}"
        )


def held_back(calls: Sequence[Hashable], seed: int) -> NDArray[np.bool_]:
    """Which rows are kept from the fit: those of a fifth of the calls.

    A call that was measured several times is kept from it in all its rows, or the fit would have
    seen what it is scored on.

    Args:
        calls: of each row, what it measured.
        seed: of the draw.

    >>> held_back(range(10), seed=0).sum(), held_back(range(100), seed=0).sum()
    (np.int64(2), np.int64(20))
    """
    numbers = {call: number for number, call in enumerate(dict.fromkeys(calls))}
    size = max(LEAST_HELD_BACK, len(numbers) // HELD_BACK)
    drawn = np.random.default_rng(seed).permutation(len(numbers))[:size]
    return np.isin([numbers[call] for call in calls], drawn)


def call_of(row: MeasuredRow) -> Hashable:
    """What rows have in common that measured the same call."""
    return (row.kernel, *problem(row))


def _check_gpu(rows: Sequence[MeasuredRow], gpu: str, source: str) -> None:
    """Refuse rows of another board: a shipped profile stands for one, whatever it extends."""
    known = lineage(gpu)
    board = next((i for i, name in enumerate(known) if name in shipped("hardware")), len(known))
    known = known[: board + 1]
    for name, count in Counter(row.gpu for row in rows).items():
        if load_gpu(name).name not in known:
            raise SpecError(
                f"{plain(source)}: expected rows of {' or '.join(known)}, found {count} of"
                f" {plain(name)}"
            )


def _named(sources: Sequence[str]) -> str:
    names = [Path(s).name if s.endswith(".csv") else s for s in dict.fromkeys(sources)]
    return " ".join(plain(name) for name in names)
