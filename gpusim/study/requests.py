"""Requests as they arrive: drawn once for a seed, at one per second; rates and lengths scale them.

Arrivals, prompts and outputs come from three streams of random numbers, so that each stays what it
is while another changes; and every rate sees the same requests, only closer together.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gpusim.errors import SpecError, excerpt
from gpusim.schedules.columns import Floats, Ints
from gpusim.spec.csv_file import csv_lines
from gpusim.spec.lengths import MAX_TOKENS
from gpusim.spec.plan import MAX_REQUESTS, Traffic

COLUMNS = ("arrival_s", "prompt_tokens", "output_tokens")
#: Fewer requests have no percentiles worth the name.
LEAST_REQUESTS = 20
#: Share of the requests that fill the replica before averages and percentiles begin.
WARM_UP = 0.1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Requests:
    """Requests in the order in which they arrive.

    Attributes:
        arrival: times of arrival at one request per second on average, in s from 0.
        prompt_tokens, output_tokens: at least 1 each.
        rate_per_s: the rate that is planned for.
    """

    arrival: Floats
    prompt_tokens: Ints
    output_tokens: Ints
    rate_per_s: float

    def __len__(self) -> int:
        return len(self.arrival)

    def arrival_us(self, rate_per_s: float) -> Floats:
        """Times of arrival at another rate; at an infinite rate all come at once."""
        return self.arrival * (1e6 / rate_per_s)

    def scaled(self, *, prompt: float = 1.0, output: float = 1.0) -> "Requests":
        """The same requests with all prompts or outputs longer by a factor, at least 1 token."""
        return Requests(
            arrival=self.arrival,
            prompt_tokens=_scaled(self.prompt_tokens, prompt),
            output_tokens=_scaled(self.output_tokens, output),
            rate_per_s=self.rate_per_s,
        )

    @property
    def first_counted(self) -> int:
        """Index of the first request that averages and percentiles count."""
        return int(WARM_UP * len(self))

    @property
    def mean_context(self) -> float:
        """Cached tokens of a sequence that decodes, averaged over decode steps and sequences.

        A request of prompt p and output o decodes for o steps, at p + o/2 tokens on average.
        """
        contexts = self.prompt_tokens + self.output_tokens / 2
        return float((self.output_tokens * contexts).sum() / self.output_tokens.sum())

    @property
    def longest_tokens(self) -> int:
        """Tokens of the longest prompt with its output."""
        return int((self.prompt_tokens + self.output_tokens).max())


def requests_of(traffic: Traffic) -> Requests:
    """The requests of a plan.

    Raises:
        SpecError: for a CSV that is missing or malformed.
    """
    if traffic.csv is not None:
        return _read(Path(traffic.csv), traffic.rate_per_s)
    assert traffic.rate_per_s is not None  # see Traffic
    assert traffic.prompt_tokens is not None
    assert traffic.output_tokens is not None
    gaps, prompts, outputs = (
        np.random.default_rng(stream) for stream in np.random.SeedSequence(traffic.seed).spawn(3)
    )
    count = traffic.requests
    arrival = np.cumsum(gaps.exponential(size=count))
    return Requests(
        arrival=arrival * (count / arrival[-1]),  # the rate is the plan's, not nearly so
        prompt_tokens=traffic.prompt_tokens.quantile(prompts.random(count)),
        output_tokens=traffic.output_tokens.quantile(outputs.random(count)),
        rate_per_s=traffic.rate_per_s,
    )


def _scaled(tokens: Ints, factor: float) -> Ints:
    scaled: Ints = np.maximum(1, np.rint(tokens * factor)).astype(np.int64)
    return scaled


def _read(path: Path, rate_per_s: float | None) -> Requests:
    """Requests of a file, from its first arrival on, sorted by arrival."""
    rows = sorted(_rows(path), key=lambda row: row[0])
    if not LEAST_REQUESTS <= len(rows) <= MAX_REQUESTS:
        raise SpecError(
            f"{path}: expected {LEAST_REQUESTS} to {MAX_REQUESTS} requests, found {len(rows)}"
        )
    arrival = np.array([row[0] for row in rows]) - rows[0][0]
    if arrival[-1] <= 0:
        raise SpecError(f"{path}: expected arrivals at different times, found all at once")
    own_rate = (len(rows) - 1) / float(arrival[-1])
    found = Requests(
        arrival=arrival * own_rate,
        prompt_tokens=np.array([row[1] for row in rows], dtype=np.int64),
        output_tokens=np.array([row[2] for row in rows], dtype=np.int64),
        rate_per_s=rate_per_s or own_rate,
    )
    if found.arrival[found.first_counted] == found.arrival[-1]:
        raise SpecError(
            f"{path}: expected arrivals at different times after the first {WARM_UP:.0%}, found"
            " all at once"
        )
    return found


def _rows(path: Path) -> Iterator[tuple[float, int, int]]:
    lines = csv_lines(path)
    header, where = next(lines, ([], f"{path}"))
    if sorted(header) != sorted(COLUMNS):
        raise SpecError(
            f"{where}: expected the columns {','.join(COLUMNS)}, found {excerpt(','.join(header))}"
        )
    order = [header.index(column) for column in COLUMNS]
    for cells, line in lines:
        if len(cells) != len(COLUMNS):
            raise SpecError(f"{line}: expected {len(COLUMNS)} values, found {len(cells)}")
        arrival, prompt, output = (cells[index] for index in order)
        yield _seconds(arrival, line), _tokens(prompt, line, 1), _tokens(output, line, 2)


def _seconds(cell: str, where: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise SpecError(
            f"{where}, column arrival_s: expected seconds from 0, found {excerpt(cell)}"
        )
    return value


def _tokens(cell: str, where: str, column: int) -> int:
    value = int(cell) if cell.isascii() and cell.isdigit() and len(cell) < 20 else 0
    if not 1 <= value <= MAX_TOKENS:
        raise SpecError(
            f"{where}, column {COLUMNS[column]}: expected tokens from 1 to {MAX_TOKENS},"
            f" found {excerpt(cell)}"
        )
    return value
