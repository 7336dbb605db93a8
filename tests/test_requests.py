"""Requests: lengths by percentile, arrivals, files, and what a seed changes."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gpusim.errors import SpecError
from gpusim.spec.lengths import Lengths
from gpusim.spec.plan import Traffic
from gpusim.study.requests import requests_of

FILE = "arrival_s,prompt_tokens,output_tokens\n" + "".join(
    f"{i / 2},{100 + i},{10 + i}\n" for i in range(21)
)


def lengths(**percentiles: int) -> Lengths:
    """A distribution by percentiles."""
    return Lengths.model_validate(percentiles)


def traffic(**changed: object) -> Traffic:
    """Some traffic, with changes."""
    given = {"rate_per_s": 5, "prompt_tokens": {"p50": 500, "p90": 2000}, "output_tokens": 100}
    return Traffic.model_validate(given | {"requests": 400} | changed)


def test_lengths_are_log_linear_between_percentiles() -> None:
    found = lengths(p50=100, p90=1000).quantile([0.5, 0.6, 0.7, 0.9])
    assert found.tolist() == [100, 178, 316, 1000]  # 10 times as long after 40 per cent


def test_the_nearest_segment_goes_on_beyond_the_ends() -> None:
    ends = lengths(p50=100, p90=1000)
    assert ends.quantile([0.1, 1.0]).tolist() == [10, 1778]
    assert lengths(p50=2, p90=1000).quantile([0.0]).tolist() == [1]
    cut = lengths(p50=100, p90=1000, min=50, max=1200)
    assert cut.quantile([0.0, 1.0]).tolist() == [50, 1200]


def test_a_number_alone_is_the_length_of_all() -> None:
    assert Lengths.model_validate(256).quantile([0.0, 0.3, 1.0]).tolist() == [256, 256, 256]


@given(
    st.lists(st.integers(1, 10**5), min_size=1, max_size=4).map(sorted),
    st.lists(st.floats(0, 1), min_size=2, max_size=9).map(sorted),
)
def test_quantiles_never_fall(values: list[int], shares: list[float]) -> None:
    names = dict(zip(("p10", "p50", "p90", "p99.9"), values, strict=False))
    found = Lengths.model_validate(names).quantile(shares)
    assert (np.diff(found) >= 0).all()
    assert found.min() >= 1


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({}, "p50: expected a value"),
        ({"p50": 0}, "p50: expected tokens from 1"),
        ({"p50": 1.5}, "p50: expected tokens from 1"),
        ({"p50": True}, "p50: expected tokens from 1"),
        ({"q50": 10}, "q50: expected min, max or a percentile"),
        ({"p0": 10}, "p0: expected min, max or a percentile"),
        ({"p100": 10}, "p100: expected min, max or a percentile"),
        ({"p50": 10, "p90": 9}, "p90: expected at least that of p50"),
        ({"p50": 10, "min": 11}, "min: expected at most 10"),
        ({"p50": 10, "max": 9}, "max: expected at least 10"),
    ],
)
def test_bad_percentiles_are_refused(values: dict[str, object], part: str) -> None:
    with pytest.raises(ValidationError, match=part):
        Lengths.model_validate(values)


def test_drawn_lengths_have_the_percentiles_that_were_asked_for() -> None:
    prompts = requests_of(traffic(requests=20_000)).prompt_tokens
    assert np.percentile(prompts, 50) == pytest.approx(500, rel=0.03)
    assert np.percentile(prompts, 90) == pytest.approx(2000, rel=0.03)


def test_the_same_seed_gives_the_same_requests_and_another_one_others() -> None:
    one, same, other = (requests_of(traffic(seed=seed)) for seed in (3, 3, 4))
    for name in ("arrival", "prompt_tokens"):
        assert (getattr(one, name) == getattr(same, name)).all()
        assert (getattr(one, name) != getattr(other, name)).any()
    assert (one.output_tokens == other.output_tokens).all()  # all 100


def test_streams_do_not_disturb_each_other() -> None:
    one, other = requests_of(traffic()), requests_of(traffic(output_tokens={"p50": 9, "p90": 99}))
    assert (one.arrival == other.arrival).all()
    assert (one.prompt_tokens == other.prompt_tokens).all()


def test_arrivals_keep_the_rate_exactly_and_look_like_a_poisson_process() -> None:
    found = requests_of(traffic(requests=20_000))
    gaps = np.diff(found.arrival_us(5.0))
    assert found.arrival_us(5.0)[-1] == pytest.approx(20_000 / 5.0 * 1e6)
    assert gaps.std() / gaps.mean() == pytest.approx(1, abs=0.03)


def test_longer_requests_are_the_same_ones() -> None:
    found = requests_of(traffic(requests=50))
    longer = found.scaled(prompt=1.2, output=0.001)
    assert longer.prompt_tokens.tolist() == np.rint(found.prompt_tokens * 1.2).tolist()
    assert longer.output_tokens.tolist() == [1] * 50
    assert longer.arrival is found.arrival


def test_the_mean_context_weighs_by_decode_steps(tmp_path: Path) -> None:
    rows = ["arrival_s,prompt_tokens,output_tokens", *["0,100,10", "1,1000,30"] * 10]
    (tmp_path / "r.csv").write_text("\n".join(rows))
    found = requests_of(Traffic.model_validate({"csv": str(tmp_path / "r.csv")}))
    assert found.mean_context == pytest.approx((10 * 105 + 30 * 1015) / 40)


def test_a_file_gives_rate_order_and_lengths(tmp_path: Path) -> None:
    lines = FILE.splitlines()
    (tmp_path / "r.csv").write_text("\n".join([lines[0], *lines[:0:-1]]))  # sorted by arrival
    found = requests_of(Traffic.model_validate({"csv": str(tmp_path / "r.csv")}))
    assert found.rate_per_s == 2.0
    assert (found.arrival_us(2.0) / 1e6).tolist() == [i / 2 for i in range(21)]
    assert found.prompt_tokens.tolist() == [100 + i for i in range(21)]
    doubled = Traffic.model_validate({"csv": str(tmp_path / "r.csv"), "rate_per_s": 4})
    assert requests_of(doubled).rate_per_s == 4.0


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("prompt_tokens", "prompts", "line 1: expected the columns arrival_s,prompt"),
        ("0.5,101,11", "0.5,101", "line 3: expected 3 values, found 2"),
        ("0.5,101", "-1,101", "line 3, column arrival_s: expected seconds from 0"),
        ("0.5,101", "nan,101", "line 3, column arrival_s: expected seconds from 0"),
        ("0.5,101", "soon,101", "line 3, column arrival_s: expected seconds from 0, found 'soon'"),
        ("101", "0", "line 3, column prompt_tokens: expected tokens from 1"),
        ("101", "1e3", "line 3, column prompt_tokens: expected tokens from 1"),
        ("101,11", "101,99999999", "line 3, column output_tokens: expected tokens from 1"),
        ("10.0,120,30\n", "", "expected 20 to 1000000 requests, found 20"),
        (FILE, "", "expected the columns"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(old: str, new: str, part: str, tmp_path: Path) -> None:
    text = FILE.replace(old, new, 1)
    assert text != FILE
    if "found 20" in part:
        text, part = text.replace("9.5,119,29\n", ""), part.replace("found 20", "found 19")
    (tmp_path / "r.csv").write_text(text)
    with pytest.raises(SpecError, match=part.replace("(", r"\(")):
        requests_of(Traffic.model_validate({"csv": str(tmp_path / "r.csv")}))


def test_a_file_whose_requests_all_come_at_once_has_no_rate(tmp_path: Path) -> None:
    rows = ["arrival_s,prompt_tokens,output_tokens", *["3,100,10"] * 30]
    (tmp_path / "r.csv").write_text("\n".join(rows))
    with pytest.raises(SpecError, match="arrivals at different times"):
        requests_of(Traffic.model_validate({"csv": str(tmp_path / "r.csv")}))


def test_a_file_whose_counted_requests_come_at_once_has_no_averages(tmp_path: Path) -> None:
    """The first tenth of them, which fills the replica, is not counted."""
    rows = ["arrival_s,prompt_tokens,output_tokens", *["0,100,10"] * 2, *["10,100,10"] * 18]
    (tmp_path / "r.csv").write_text("\n".join(rows))
    with pytest.raises(SpecError, match="after the first 10%"):
        requests_of(Traffic.model_validate({"csv": str(tmp_path / "r.csv")}))
    rows[-1] = "11,100,10"
    (tmp_path / "r.csv").write_text("\n".join(rows))
    assert len(requests_of(Traffic.model_validate({"csv": str(tmp_path / "r.csv")}))) == 20
