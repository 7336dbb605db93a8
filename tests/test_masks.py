"""Mask algebra in closed form against the dense mask."""

import numpy as np
import pytest
from contracts import dense_mask
from hypothesis import given, settings
from hypothesis import strategies as st

from gpusim.schedules.mask import allowed_pairs, block_range, seen_keys, useful_flop
from gpusim.spec.attention import Attention, Sequence


@st.composite
def masked(draw: st.DrawFn) -> Attention:
    """One sequence under any mask; without causality there may be more queries than keys."""
    causal = draw(st.booleans())
    q_len = draw(st.integers(1, 60))
    return Attention(
        q_heads=1,
        kv_heads=1,
        head_dim=64,
        causal=causal,
        window=draw(st.none() | st.integers(1, 80)),
        sequences=(Sequence(q_len=q_len, kv_len=draw(st.integers(q_len if causal else 1, 90))),),
    )


exactly = settings(max_examples=400, derandomize=True, deadline=None, database=None)


@exactly
@given(attention=masked())
def test_allowed_pairs_are_counted_without_a_mask_in_hand(attention: Attention) -> None:
    (seq,) = attention.sequences
    assert allowed_pairs(attention, seq) == dense_mask(attention, seq).sum()


@exactly
@given(attention=masked())
def test_seen_keys_are_those_that_some_query_sees(attention: Attention) -> None:
    (seq,) = attention.sequences
    assert seen_keys(attention, seq) == dense_mask(attention, seq).any(axis=0).sum()


@exactly
@given(attention=masked(), block_m=st.integers(1, 40), block_n=st.integers(1, 40))
def test_a_query_tile_visits_from_its_first_to_its_last_allowed_key_tile(
    attention: Attention, block_m: int, block_n: int
) -> None:
    (seq,) = attention.sequences
    dense = dense_mask(attention, seq)
    first = np.arange(0, seq.q_len, block_m)
    last = np.minimum(first + block_m, seq.q_len) - 1
    start, stop = block_range(attention, seq, first, last, block_n)
    for i in range(len(first)):
        keys = np.flatnonzero(dense[first[i] : last[i] + 1].any(axis=0))
        if len(keys) == 0:
            assert start[i] == stop[i]
        else:
            assert (start[i], stop[i]) == (keys[0] // block_n, keys[-1] // block_n + 1)


@pytest.mark.parametrize(
    ("causal", "window", "q_len", "kv_len", "pairs"),
    [
        (True, None, 4, 4, 10),
        (True, None, 2, 4, 7),
        (True, 2, 4, 4, 7),
        (True, 1, 4, 4, 4),
        (True, 2, 1, 8, 2),
        (False, None, 3, 5, 15),
        (False, 2, 4, 4, 10),
        (False, 1, 3, 5, 3),
        (False, 1, 5, 2, 2),
        (False, 2, 5, 2, 5),
    ],
)
def test_small_masks_have_the_pairs_counted_by_hand(
    causal: bool, window: int | None, q_len: int, kv_len: int, pairs: int
) -> None:
    seq = Sequence(q_len=q_len, kv_len=kv_len)
    attention = Attention(
        q_heads=1, kv_heads=1, head_dim=64, causal=causal, window=window, sequences=(seq,)
    )
    assert allowed_pairs(attention, seq) == pairs


def test_useful_flop_counts_heads_sequences_and_both_widths() -> None:
    attention = Attention(
        q_heads=8,
        kv_heads=2,
        head_dim=192,
        v_head_dim=128,
        sequences=(Sequence(count=3, q_len=2, kv_len=4), Sequence(q_len=1, kv_len=5)),
    )
    assert useful_flop(attention) == 2 * (192 + 128) * 8 * (3 * 7 + 5)
