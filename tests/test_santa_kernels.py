"""The project's SANTA kernels in the interpreter: sampling statistics, traffic and FLOP."""

from typing import Any

import numpy as np
import pytest
from interpreter import (
    ARRAY_BOUNDS,
    Tensors,
    assert_predicted,
    options_of,
    problem,
    tl,
    torch,
    triton,
)

import gpusim
from gpusim.schedules.catalogue import build_launches
from gpusim.schedules.sampling import read_chance
from validation.interpreted import counted
from validation.kernels.problem import Problem
from validation.kernels.sampling import draws
from validation.kernels.santa_flash import santa_flash, santa_flash_cost
from validation.kernels.santa_prop import santa_prop, santa_prop_cost
from validation.reference import reference

pytestmark = pytest.mark.filterwarnings(ARRAY_BOUNDS)
S = gpusim.Sequence
GPU = gpusim.load_gpu("rtx_6000_ada")
#: An odd length, so that the last tile is short; a stash row of all heads fills a sector.
DECODE = {"q_heads": 16, "kv_heads": 4, "sequences": (S(count=2, q_len=1, kv_len=301),)}


@triton.jit
def draw_kernel(U, Budget, Offset, Count, BLOCK_N: tl.constexpr):
    index = tl.arange(0, 16)[:, None] * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    heads = tl.arange(0, 16)
    count = draws(tl.load(U + index), tl.load(Budget + heads), tl.load(Offset + heads), BLOCK_N)
    tl.store(Count + index, count)


def test_draws_add_up_and_stay_within_one_of_their_expectation() -> None:
    generator = np.random.default_rng(0)
    u = np.exp(3 * generator.standard_normal((16, 64))).astype(np.float32)
    u[:, 50:] = 0  # past the end of the sequence
    budget = np.array([0, 1, 2, 16, 33, 255, 256, *range(3, 12)], np.float32)
    mean = np.zeros_like(u)
    offsets = (np.arange(32) + 0.5) / 32
    offsets[-1] = 1 - 2**-24
    for offset in offsets:
        count = torch.empty(u.shape)
        offset_of_head = torch.full((16,), offset, dtype=torch.float32)
        arguments = (torch.from_numpy(u), torch.from_numpy(budget), offset_of_head, count)
        draw_kernel[(1,)](*arguments, BLOCK_N=64)
        found = count.numpy()
        expected = budget[:, None] * u / u.sum(1, keepdims=True)
        np.testing.assert_array_equal(found.sum(1), budget)
        assert found.min() >= 0
        assert np.abs(found - expected).max() < 1 + 1e-4
        assert not found[:, 50:].any()
        mean += found / len(offsets)
    assert np.abs(mean - expected).max() < 2 / len(offsets)


def estimates(name: str, given: Problem, seeds: int) -> np.ndarray[Any, Any]:
    """Outputs of a kernel for several seeds."""
    outputs = []
    for seed in range(seeds):
        if name == "santa_flash":
            o, _ = santa_flash(given, block_n=128, num_warps=4, budget=16, seed=seed)
        else:
            o = santa_prop(given, samples=40, seed=seed)
        outputs.append(o.double().numpy())
    return np.stack(outputs)


@pytest.mark.parametrize("name", ["santa_flash", "santa_prop"])
def test_the_mean_of_many_runs_is_exact_attention(name: str) -> None:
    given = problem(**DECODE)
    exact, _ = reference(given)
    runs = estimates(name, given, seeds=25)
    error, spread = runs.mean(0) - exact, runs.std(0, ddof=1) / np.sqrt(len(runs))
    assert spread.mean() > 0
    z = error / spread
    # 2,048 outputs of 25 runs: Student's t with 24 degrees of freedom spreads by 1.04.
    assert abs(z.mean()) < 0.15
    assert 0.85 < z.std() < 1.25


def test_the_exact_statistic_comes_along() -> None:
    given = problem(**DECODE)
    _, lse = santa_flash(given, block_n=64, num_warps=4, budget=8, seed=3)
    np.testing.assert_allclose(lse.numpy(), reference(given)[1], rtol=1e-5, atol=1e-5)


def drawn_rows(given: Problem, draws_of: Any, tile: int) -> float:
    """Expected rows that any head of a group reads, from the true weights, over all tiles."""
    attention, rows = given.attention, 0.0
    kv_len = attention.sequences[0].kv_len
    q = given.q.double().numpy().reshape(given.batch, attention.kv_heads, -1, attention.head_dim)
    k = given.k.double().numpy().reshape(given.batch, kv_len, attention.kv_heads, -1)
    logits = np.einsum("bkgd,bnkd->bkgn", q, k) / np.sqrt(attention.head_dim)
    if tile == 0:  # drawn from all keys at once
        tile = kv_len
    for start in range(0, kv_len, tile):
        chance = read_chance(logits[..., start : start + tile], draws_of)
        rows += float((1 - np.prod(1 - chance, axis=2)).sum())
    return rows


SANTA_FLASH: dict[str, Tensors] = {
    "fused_tiles": ({"q": "Q", "k": "K"}, {"stats": "M L", "out_tiles": "OutTiles"}),
    "finalize": ({"stats": "M L", "out_tiles": "OutTiles"}, {"o": "O LSE"}),
}
SANTA_PROP: dict[str, Tensors] = {
    "pass1": ({"q": "Q", "k": "K"}, {"stats": "M L", "stash": "Stash"}),
    "tile_budgets": ({"stats": "M L"}, {"budgets": "Budget Offset", "accumulator": "Sum"}),
    "pass2": ({"stash": "Stash", "budgets": "Budget Offset"}, {"accumulator": "Sum"}),
    "cast_scale": ({"accumulator": "Sum"}, {"o": "O"}),
}


@pytest.mark.parametrize("head_dim", [64, 128])
def test_flash_moves_and_multiplies_what_is_predicted(head_dim: int) -> None:
    given = problem(head_dim=head_dim, **DECODE)
    attention = given.attention
    options = options_of("santa_flash", attention, GPU)
    with counted() as counts:
        santa_flash(given, **options, seed=7)
    v_rows = counts[0].cost.reads["V"] // (2 * head_dim)
    declared = santa_flash_cost(attention, block_n=options["block_n"], v_rows=v_rows)
    assert [c.cost for c in counts] == list(declared)
    expected = drawn_rows(given, options["budget"], options["block_n"])
    assert v_rows == pytest.approx(expected, rel=0.05)
    for launch, count in zip(
        build_launches("gpusim_triton_santa_flash", attention, GPU, {}), counts, strict=True
    ):
        assert_predicted(launch, count, SANTA_FLASH[count.name], sampled=("v", "V"))


def test_prop_moves_and_multiplies_what_is_predicted() -> None:
    given = problem(**DECODE)
    attention = given.attention
    options = options_of("santa_prop", attention, GPU)
    with counted() as counts:
        santa_prop(given, **options, seed=7)
    v_rows = counts[2].cost.reads["V"] // (2 * attention.head_dim)
    assert [c.cost for c in counts] == list(santa_prop_cost(attention, v_rows=v_rows))
    assert v_rows == pytest.approx(drawn_rows(given, options["samples"], 0), rel=0.05)
    for launch, count in zip(
        build_launches("gpusim_triton_santa_prop", attention, GPU, {}), counts, strict=True
    ):
        assert_predicted(launch, count, SANTA_PROP[count.name], sampled=("v", "V"))
