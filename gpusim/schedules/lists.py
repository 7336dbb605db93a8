"""Items that belong to workers: each works off a list of its own. Many workers' lists are alike."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gpusim.schedules.columns import Floats, Ints


@dataclass(frozen=True, kw_only=True)
class Lists:
    """The distinct lists, none of them empty, and who has which.

    Attributes:
        kind: per worker, its list.
        rows: rows of the work table, in the order in which they are worked off, list after list.
        first: the first of each list in `rows`.
    """

    kind: Ints
    rows: Ints
    first: Ints

    @cached_property
    def sizes(self) -> Ints:
        """Items of each list."""
        return np.diff(self.first, append=len(self.rows))

    @cached_property
    def num_items(self) -> int:
        """Items of all workers."""
        return int(self.sizes[self.kind].sum())

    def order(self) -> Ints:
        """Row of every item: those of the first worker, then those of the next."""
        sizes = self.sizes[self.kind]
        starts = self.first[self.kind] - (np.cumsum(sizes) - sizes)
        rows: Ints = self.rows[np.arange(self.num_items) + np.repeat(starts, sizes)]
        return rows

    def counts(self, rows: int) -> Ints:
        """How often each of so many rows occurs."""
        workers = np.bincount(self.kind, minlength=len(self.first))
        counts = np.bincount(self.rows, weights=np.repeat(workers, self.sizes), minlength=rows)
        return counts.astype(np.int64)

    def totals(self, column: Ints | Floats) -> Floats:
        """Sum of a column of the table over each worker's items."""
        totals: Floats = np.add.reduceat(column[self.rows], self.first)[self.kind]
        return totals

    def most(self, column: Ints) -> Ints:
        """Greatest of a column over each worker's items."""
        most: Ints = np.maximum.reduceat(column[self.rows], self.first)[self.kind]
        return most

    def firsts(self, column: Floats) -> Floats:
        """A column at each worker's first item."""
        firsts: Floats = column[self.rows[self.first]][self.kind]
        return firsts


def one_each(rows: Ints, first: Ints) -> Lists:
    """A list for each worker, all in a line."""
    return Lists(kind=np.arange(len(first)), rows=rows, first=first)


def in_turn(rows: Ints, workers: int) -> Lists:
    """Items in this order for so many workers: every n-th.

    >>> in_turn(np.array([7, 8, 9, 7, 8]), 2).rows.tolist()
    [7, 9, 8, 8, 7]
    """
    worker = np.arange(workers)
    sizes = (len(rows) - worker + workers - 1) // workers
    first = np.cumsum(sizes) - sizes
    nth = np.arange(len(rows)) - np.repeat(first, sizes)
    return one_each(rows[nth * workers + np.repeat(worker, sizes)], first)
