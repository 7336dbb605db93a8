"""The papers' directions come out of the model, and the README says how closely."""

from pathlib import Path
from statistics import geometric_mean

import pytest

from validation import papers

README = Path(__file__).parents[1] / "README.md"


def test_the_table_in_the_readme_is_what_the_model_gives_today() -> None:
    assert papers.table() in README.read_text(encoding="utf-8")


@pytest.mark.parametrize(("head_dim", "least", "most"), [(128, 1.8, 3.0), (64, 1.2, 3.0)])
def test_flash2_beats_flash1(head_dim: int, least: float, most: float) -> None:
    """The paper: 1.7 to 3.0 times over all its settings; at d=64 the model gives less."""
    ratios = papers.speedups("a100_sxm_80gb", "flash1", "flash2", papers.forward(head_dim))
    assert least < min(ratios)
    assert max(ratios) < most


def test_flash3_beats_flash2_by_half_to_twice() -> None:
    ratios = papers.speedups("h100_sxm", "flash2", "flash3", papers.forward(128))
    assert 1.5 < geometric_mean(ratios) < 2.0
    assert min(ratios) > 1


def test_flash3_reaches_two_thirds_to_three_quarters_of_the_peak() -> None:
    for head_dim in (128, 256):
        assert 0.64 < papers.flash3_rate("flash3", head_dim) / papers.H100_PEAK_TFLOPS < 0.77


def test_lean_beats_fixed_splits_where_heads_do_not_fill_the_gpu() -> None:
    for gpu in ("a100_sxm_80gb", "h100_sxm"):
        ratios = papers.speedups(gpu, "flash2_split_kv", "lean", papers.lean_decodes())
        assert min(ratios) > 0.99
        assert geometric_mean(ratios) > 1.05


def test_santa_beats_split_kv_on_ada_at_32k() -> None:
    for schedule in ("santa_prop", "santa_flash"):
        assert 1.4 < float(papers.santa(schedule)) < 1.8
