"""How many value rows systematic sampling reads: the formulas against sampling itself."""

import numpy as np
import pytest
from numpy.typing import NDArray

from gpusim.schedules.columns import Floats
from gpusim.schedules.sampling import distinct_rows, read_chance, union_rows

HEADS = 4


def _draw(logits: Floats, samples: float | Floats, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which rows systematic sampling reads: tiles along the first axes, an offset for each."""
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    ends = np.cumsum(samples * weights / weights.sum(axis=-1, keepdims=True), axis=-1)
    offset = rng.random((*logits.shape[:-1], 1))
    counts = np.diff(np.floor(offset + ends), axis=-1, prepend=np.floor(offset))
    return np.asarray(counts > 0)


def _within(found: Floats, expected: float, *, errors: float = 4.0) -> None:
    """The mean of `found` is within so many of its standard errors of the expectation."""
    error = found.std() / np.sqrt(len(found))
    assert abs(found.mean() - expected) <= errors * error + 1e-9


@pytest.mark.parametrize(("sigma", "worked"), [(0.0, 58.2), (2.0, 48.8), (3.0, 34.2), (4.0, 26.3)])
def test_the_worked_unions_of_16_samples_in_256_keys_are_reproduced(
    sigma: float, worked: float
) -> None:
    """The worked values are estimates from draws: 4% is their own scatter at large sigma."""
    union = union_rows(256, distinct_rows(256, 16, sigma), HEADS)
    assert union == pytest.approx(worked, rel=0.04 if sigma else 1e-3)


@pytest.mark.parametrize("sigma", [0.0, 2.0, 3.0, 4.0])
def test_given_the_logits_rows_are_read_as_the_formulas_say(sigma: float) -> None:
    """E Σ min(1, S·p) for each head, and E Σ [1 - Π (1 - min(1, S·p))] for any, offsets drawn."""
    rng = np.random.default_rng(7)
    logits = sigma * rng.standard_normal((HEADS, 256))
    chance = read_chance(logits, 16)
    read = _draw(np.broadcast_to(logits, (5000, HEADS, 256)), 16, rng)
    for head in range(HEADS):
        _within(read[:, head].sum(axis=-1), float(chance[head].sum()))
    _within(read.any(axis=1).sum(axis=-1), float((1 - np.prod(1 - chance, axis=0)).sum()))


@pytest.mark.parametrize("rows", [32, 64, 256])
@pytest.mark.parametrize("sigma", [0.0, 2.0, 4.0])
def test_over_random_tiles_the_expectation_is_the_mean_of_draws(rows: int, sigma: float) -> None:
    """Tile by tile, other logits and an independent offset in each head."""
    rng = np.random.default_rng(11)
    read = _draw(sigma * rng.standard_normal((4000, HEADS, rows)), 16, rng)
    distinct = distinct_rows(rows, 16, sigma)
    _within(read.sum(axis=-1).mean(axis=-1), distinct, errors=5)
    _within(read.any(axis=1).sum(axis=-1), union_rows(rows, distinct, HEADS), errors=5)


@pytest.mark.parametrize("sigma", [0.0, 1.0, 2.0, 3.0])
def test_budgets_by_share_read_as_if_drawn_from_all_keys(sigma: float) -> None:
    """Largest-remainder budgets per tile: rounding them moves the rows read by 3% at most."""
    rng = np.random.default_rng(13)
    tiles, keys, samples = 32, 256, 128
    read = []
    for _ in range(100):
        logits = sigma * rng.standard_normal((tiles, keys))
        mass = np.exp(logits).sum(axis=-1)
        share = samples * mass / mass.sum()
        budget = np.floor(share)
        top = np.argsort(budget - share)[: samples - int(budget.sum())]
        budget[top] += 1
        assert budget.sum() == samples
        read.append(_draw(logits, budget[:, None], rng).sum())
    expected = distinct_rows(tiles * keys, samples, sigma)
    assert np.mean(read) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("sigma", [0.0, 0.5, 2.0, 8.0, 20.0])
def test_rows_read_stay_within_what_can_be_read(sigma: float) -> None:
    """At least one, at most all or one a sample; more samples never read less."""
    before = 0.0
    for samples in (1, 2, 16, 200, 5000):
        distinct = distinct_rows(256, samples, sigma)
        union = union_rows(256, distinct, HEADS)
        assert 1 - 1e-9 <= distinct <= min(256, samples) + 1e-9
        assert distinct - 1e-9 <= union <= min(256, HEADS * distinct) + 1e-9
        assert distinct >= before
        before = distinct


def test_one_key_is_always_read_and_long_ranges_are_scaled() -> None:
    assert distinct_rows(1, 16, 2.0) == 1
    assert distinct_rows(2**24, 2048, 2.0) == pytest.approx(2048, rel=0.01)
    assert distinct_rows(2**24, 128, 0.0) == 128


def test_equal_arguments_give_equal_expectations() -> None:
    distinct_rows.cache_clear()
    first = distinct_rows(300, 7, 2.5)
    distinct_rows.cache_clear()
    assert distinct_rows(300, 7, 2.5) == first
