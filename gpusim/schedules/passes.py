"""The work of a kernel whose outer loop is over KV blocks: each CTA makes a pass per block."""

from dataclasses import dataclass

import numpy as np

from gpusim.errors import SpecError
from gpusim.schedules.columns import Ints
from gpusim.schedules.grid import ragged
from gpusim.spec.attention import Attention, Sequence
from gpusim.units import ceil_div

#: Passes of a launch over all its CTAs, which the simulator takes one by one.
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

    def num_splits(self, seq: Sequence) -> int:
        """Splits of a sequence that have a row."""
        return min(self.splits, ceil_div(seq.q_len, self.rows))

    def num_ctas(self, attention: Attention) -> int:
        """CTAs that make a pass."""
        return attention.q_heads * sum(s.count * self.num_splits(s) for s in attention.sequences)


@dataclass(frozen=True, slots=True, kw_only=True)
class Passes:
    """Columns, a row per (sequence, split, pass): entries of the sequences outside, passes inside.

    Attributes:
        entry, split, index: of the row.
        steps: blocks of query rows that the pass goes over.
        q_start, q_rows: first of its rows, and how many.
        carried: how many come back in the next pass; the others get their output in this one.
        kv_start, kv_stop: its keys.
    """

    entry: Ints
    split: Ints
    index: Ints
    steps: Ints
    q_start: Ints
    q_rows: Ints
    carried: Ints
    kv_start: Ints
    kv_stop: Ints


def pass_table(attention: Attention, grid: PassGrid) -> Passes:
    """Passes of a copy and head of every entry; one without rows loads nothing and is left out.

    Pass j holds keys j·keys up to (j+1)·keys. Under a causal mask it begins at the row block of the
    first query that sees key j·keys; split z at the first block from there on that is z modulo
    `splits`, so that a row stays with its CTA. (FlashAttention-1 aligns the mask at the first key
    and query, which is the same for square problems; here it is aligned at the last.)

    Raises:
        SpecError: if all CTAs together make too many.
    """
    entries = attention.sequences
    splits = np.array([grid.num_splits(s) for s in entries])
    lengths = np.array([(s.q_len, s.kv_len, s.count) for s in entries])
    passes = -(-lengths[:, 1] // grid.keys)
    total = attention.q_heads * int((lengths[:, 2] * splits * passes).sum())
    if total > MAX_PASSES:
        raise SpecError(f"sequences: expected at most {MAX_PASSES} KV passes, found {total}")
    entry, row = ragged(np.arange(len(entries)), splits * passes)
    split, index = np.divmod(row, passes[entry])
    q_len, kv_len, most = lengths[entry, 0], lengths[entry, 1], passes[entry]
    blocks = -(-q_len // grid.rows)
    begin = np.zeros_like(index)
    if attention.causal and grid.skips:
        begin = np.maximum(0, index * grid.keys - (kv_len - q_len)) // grid.rows
    first = begin + (split - begin) % grid.splits
    steps = np.maximum(0, -((first - blocks) // grid.splits))
    has_last = (steps > 0) & (first + (steps - 1) * grid.splits == blocks - 1)
    q_rows = steps * grid.rows - has_last * (blocks * grid.rows - q_len)
    kept = steps > 0
    return Passes(
        entry=entry[kept],
        split=split[kept],
        index=index[kept],
        steps=steps[kept],
        q_start=(first * grid.rows)[kept],
        q_rows=q_rows[kept],
        carried=np.where(index + 1 < most, np.roll(q_rows, -1), 0)[kept],
        kv_start=(index * grid.keys)[kept],
        kv_stop=np.minimum((index + 1) * grid.keys, kv_len)[kept],
    )
