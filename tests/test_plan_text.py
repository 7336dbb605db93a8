"""Plans as text: what a page shows is what ran."""

from pathlib import Path

import pytest

from gpusim.spec.load import load_plan, shipped
from gpusim.spec.plan_text import plan_text

CSV = """\
name: requests of a file
model: llama3_1_8b
gpus: [{name: l40s, usd_per_hour: 1, price_source: a list, price_date: 2026-11-09}]
tensor_parallel: 1
traffic: {csv: requests.csv}
targets: {ttft_ms: 500, tpot_ms: 40}
"""


@pytest.mark.parametrize("name", shipped("workloads/plans"))
def test_the_plan_on_a_page_is_the_one_that_ran(name: str, tmp_path: Path) -> None:
    (tmp_path / "copy.yaml").write_text(plan_text(load_plan(name)), encoding="utf-8")
    assert load_plan(tmp_path / "copy.yaml") == load_plan(name)


def test_a_plan_of_measured_requests_and_own_prices_comes_back(tmp_path: Path) -> None:
    (tmp_path / "requests.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0,1,1\n")
    (tmp_path / "plan.yaml").write_text(CSV)
    plan = load_plan(tmp_path / "plan.yaml")
    (tmp_path / "copy.yaml").write_text(plan_text(plan), encoding="utf-8")
    assert load_plan(tmp_path / "copy.yaml") == plan
