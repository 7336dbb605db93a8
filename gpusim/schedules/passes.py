"""The work of a kernel whose outer loop is over KV blocks: each CTA makes a pass per block."""

from dataclasses import dataclass

import numpy as np

from gpusim.errors import SpecError
from gpusim.schedules.work import Ints
from gpusim.spec.attention import Attention, Sequence
from gpusim.units import ceil_div

#: Passes of a launch over all its CTAs; each has an owner, so each takes memory.
MAX_PASSES = 2**23


@dataclass(frozen=True, slots=True, kw_only=True)
class PassGrid:
    """How a KV-outer kernel lays attention out: a CTA per (sequence, head, query split).

    Attributes:
        rows: query rows of a step.
        keys: keys of a KV block, so of a pass.
        splits: query splits; split z takes every `splits`-th block of `rows` rows.
        skips: whether a causal pass starts at the first row that sees its keys.
    """

    rows: int
    keys: int
    splits: int = 1
    skips: bool = True

    def num_passes(self, attention: Attention) -> int:
        """Passes of a CTA over the longest sequence."""
        return max(ceil_div(s.kv_len, self.keys) for s in attention.sequences)


@dataclass(frozen=True, slots=True)
class Passes:
    """Columns, a row per (split, pass) of a sequence: splits outside, passes inside.

    Attributes:
        split, index: of the row.
        steps: blocks of query rows that the pass goes over.
        q_start, q_rows: first of its rows, and how many.
        carried: how many come back in the next pass; the others get their output in this one.
        kv_start, kv_stop: its keys.
    """

    split: Ints
    index: Ints
    steps: Ints
    q_start: Ints
    q_rows: Ints
    carried: Ints
    kv_start: Ints
    kv_stop: Ints


def passes_of(attention: Attention, seq: Sequence, grid: PassGrid) -> Passes:
    """Passes of one sequence and head; a pass without rows loads nothing and is left out.

    Pass j holds keys j·keys up to (j+1)·keys. Under a causal mask it begins at the row block of the
    first query that sees key j·keys; split z at the first block from there on that is z modulo
    `splits`, so that a row stays with its CTA. (FlashAttention-1 aligns the mask at the first key
    and query, which is the same for square problems; here it is aligned at the last.)
    """
    blocks = ceil_div(seq.q_len, grid.rows)
    index, split = np.arange(ceil_div(seq.kv_len, grid.keys)), np.arange(grid.splits)[:, None]
    begin = np.zeros_like(index)
    if attention.causal and grid.skips:
        first_query = index * grid.keys - (seq.kv_len - seq.q_len)
        begin = np.maximum(0, first_query) // grid.rows
    first = begin + (split - begin) % grid.splits
    steps = np.maximum(0, -((first - blocks) // grid.splits))
    has_last = (steps > 0) & (first + (steps - 1) * grid.splits == blocks - 1)
    q_rows = steps * grid.rows - has_last * (blocks * grid.rows - seq.q_len)
    columns = (
        split,
        index,
        steps,
        first * grid.rows,
        q_rows,
        np.hstack([q_rows[:, 1:], np.zeros_like(q_rows[:, :1])]),
        index * grid.keys,
        np.minimum((index + 1) * grid.keys, seq.kv_len),
    )
    return Passes(*(np.broadcast_to(c, steps.shape)[steps > 0] for c in columns))


def pass_table(attention: Attention, grid: PassGrid) -> tuple[Passes, Ints]:
    """Passes of all sequences one after another, and how many of them each sequence has.

    Raises:
        SpecError: if all CTAs together make too many.
    """
    total = attention.q_heads * sum(
        s.count * min(grid.splits, ceil_div(s.q_len, grid.rows)) * ceil_div(s.kv_len, grid.keys)
        for s in attention.sequences
    )
    if total > MAX_PASSES:
        raise SpecError(f"sequences: expected at most {MAX_PASSES} KV passes, found {total}")
    tables = [passes_of(attention, s, grid) for s in attention.sequences]
    columns = (np.concatenate([getattr(t, c) for t in tables]) for c in Passes.__slots__)
    return Passes(*columns), np.array([len(t.split) for t in tables])
