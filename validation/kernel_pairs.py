"""Whether the model picks the faster of two kernels: a table of the README.

A random sample holds few problems twice, so problems are drawn that were measured with two kernels
or more, of one framework or of several.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from gpusim.study.measured import MeasuredRow
from gpusim.study.pairs import Pair, differing, pairs_of, problem, share_right
from gpusim.study.predict_row import Prediction, predict_row
from gpusim.study.validate import outcomes, read_sources
from validation.tables import markdown, percent

#: Pairs of each GPU, or a few more: all of the last problem that is drawn count.
PAIRS = 400
COLUMNS = ("GPU|kernels", "pairs|right")
TEXT = f"""\
Two kernels on one problem, whose measured times differ by more than 10 %: how often the model
picks the faster one, in per cent. Of each GPU, problems are drawn at random until they make
{PAIRS} pairs.
"""


def pairs_table(
    datasets: Sequence[str], *, engine: str, seed: int, workers: int, pairs: int = PAIRS
) -> str:
    """A line for each GPU, and one for each two kernels on it; GPUs of one kernel have none."""
    work = partial(predict_row, engine=engine)
    found: dict[str, list[Pair]] = {}
    for gpu, names in by_system(datasets).items():
        rows = draw(read_sources(names)[0], pairs, seed)
        predictions = [p for p in outcomes(rows, work, workers) if isinstance(p, Prediction)]
        found[gpu] = pairs_of(predictions)
    return f"{TEXT}\n{markdown(COLUMNS, _lines(found))}"


def by_system(datasets: Iterable[str]) -> dict[str, list[str]]:
    """Datasets of each system.

    >>> by_system(["aiconfigurator:l40s/vllm", "published", "aiconfigurator:l40s/sglang"])
    {'l40s': ['aiconfigurator:l40s/vllm', 'aiconfigurator:l40s/sglang']}
    """
    systems: dict[str, list[str]] = {}
    for name in datasets:
        prefix, _, rest = name.partition(":")
        system, slash, _ = rest.partition("/")
        if prefix and slash:
            systems.setdefault(system, []).append(name)
    return systems


def draw(rows: Iterable[MeasuredRow], pairs: int, seed: int) -> list[MeasuredRow]:
    """Rows of problems, drawn at random, until they make so many pairs; all if there are fewer."""
    problems: dict[Any, dict[str, list[MeasuredRow]]] = {}
    for row in rows:
        problems.setdefault(problem(row), {}).setdefault(row.kernel, []).append(row)
    held = [(kernels, n) for kernels in problems.values() if (n := _pairs_in(kernels))]
    drawn: list[MeasuredRow] = []
    total = 0
    for index in np.random.default_rng(seed).permutation(len(held)):
        if total >= pairs:
            break
        kernels, count = held[index]
        drawn += [row for group in kernels.values() for row in group]
        total += count
    return drawn


def _pairs_in(kernels: Mapping[str, Sequence[MeasuredRow]]) -> int:
    return len(differing({name: [r.measured_us for r in rows] for name, rows in kernels.items()}))


def _lines(found: Mapping[str, Sequence[Pair]]) -> Iterator[list[str]]:
    for gpu, pairs in found.items():
        groups: dict[tuple[str, str], list[Pair]] = {}
        for pair in pairs:
            groups.setdefault(pair.kernels, []).append(pair)
        if pairs:
            yield [f"**{gpu}**", "all", *_cells(pairs)]
        for (one, other), group in sorted(groups.items()):
            yield [gpu, f"`{one}`, `{other}`", *_cells(group)]


def _cells(pairs: Sequence[Pair]) -> list[str]:
    return [f"{len(pairs):,}", percent(share_right(pairs)["right"])]
