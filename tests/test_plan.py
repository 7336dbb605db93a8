"""Capacity plans: what they answer, and what must hold of every answer."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_cases import answered, plan_of
from step_timers import roofline

import gpusim
from gpusim.errors import SpecError
from gpusim.report.plan import plan_table
from gpusim.spec.load import load_gpu, load_plan, shipped
from gpusim.spec.load_model import load_model
from gpusim.study.plan import plan as answer
from gpusim.study.plan_candidates import candidates
from gpusim.study.requests import requests_of
from gpusim.study.serving_curve import LOADS


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    """The JSON form of one answer."""
    return answered().as_dict()


# --- answers ---


def test_the_cheapest_that_meets_the_targets_is_the_answer(result: dict[str, Any]) -> None:
    prices = [c["fleet"]["usd_per_hour"] for c in result["configurations"] if c["fleet"]]
    assert len(prices) == 4
    assert result["answer"]["usd_per_hour"] == min(prices)
    assert result["answer"]["meets_targets"]


def test_prices_follow_from_gpus_and_rates(result: dict[str, Any]) -> None:
    traffic = result["traffic"]
    hourly = 30 * 3600 * traffic["output_tokens"]["mean"] / 1e6
    total = 30 * 3600 * traffic["prompt_tokens"]["mean"] / 1e6 + hourly
    for one in result["configurations"]:
        fleet = one["fleet"]
        assert fleet["gpus"] == fleet["replicas"] * one["tensor_parallel"]
        usd = fleet["gpus"] * one["price"]["usd_per_hour"]
        assert fleet["usd_per_hour"] == pytest.approx(usd)
        assert fleet["usd_per_million_output_tokens"] == pytest.approx(usd / hourly)
        assert fleet["usd_per_million_total_tokens"] == pytest.approx(usd / total)
        assert fleet["watts"] == pytest.approx(fleet["gpus"] * fleet["operating_point"]["watts"])
        assert fleet["goodput_rps"] >= 30 * 1.2 * (1 - 1e-9)
        assert fleet["operating_point"]["rate_rps"] * fleet["replicas"] == pytest.approx(30)


def test_the_fleets_replica_keeps_the_targets_when_it_is_simulated(
    result: dict[str, Any],
) -> None:
    for one in result["configurations"]:
        at = one["fleet"]["operating_point"]
        assert at["ttft_ms"]["target"] <= 500
        assert at["tpot_ms"]["target"] <= 30


def test_what_is_served_is_what_arrives_as_long_as_the_replica_keeps_up(
    result: dict[str, Any],
) -> None:
    for one in result["configurations"]:
        assert [p["load"] for p in one["curve"]] == list(LOADS)
        for at in one["curve"][:8]:  # not near saturation, where the queue still grows
            assert at["served_rps"] == pytest.approx(at["rate_rps"], rel=0.15)
            assert 0 < at["busy_fraction"] <= 1 + 1e-9
            assert at["goodput_rps"] == pytest.approx(at["rate_rps"] * at["met_fraction"])
        top = one["curve"][-1]
        assert top["served_rps"] < top["rate_rps"]
        assert top["largest_batch"] <= 64


def test_a_price_in_the_plan_replaces_that_of_the_profile() -> None:
    priced = {
        "name": "h100_sxm",
        "usd_per_hour": 1.5,
        "price_source": "a quote",
        "price_date": "2026-11-01",
    }
    found = answered(gpus=["h100_sxm", priced | {"name": "a100_sxm_80gb"}], tensor_parallel=[1])
    own, other = (one["price"] for one in found.as_dict()["configurations"])
    assert own["usd_per_hour"] == load_gpu("h100_sxm").price.usd_per_hour
    assert own["date"] in own["source"]
    assert own["date"] == "2026-11-09"
    assert other == {"usd_per_hour": 1.5, "source": "a quote", "date": "2026-11-01"}


def test_the_schedule_is_what_vllm_runs_on_the_gpu(result: dict[str, Any]) -> None:
    assert {one["gpu"]: one["schedule"] for one in result["configurations"]} == {
        "a100_sxm_80gb": "vllm_flash_attn_2",
        "h100_sxm": "vllm_flash_attn_3",
    }


def test_a_plan_that_cannot_be_met_says_which_target_and_by_how_much() -> None:
    found = answered(targets={"ttft_ms": 1, "tpot_ms": 30}).as_dict()
    answer = found["answer"]
    assert not answer["meets_targets"]
    assert answer["gpus"] is None
    (miss,) = answer["missed"]
    assert (miss["target"], miss["limit_ms"]) == ("ttft", 1)
    assert miss["over"] == pytest.approx(miss["found_ms"] - 1)
    overs = [one["missed"][0]["over"] for one in found["configurations"]]
    assert miss["over"] == min(overs)
    text = plan_table(found)
    assert "No configuration holds" in text
    assert "TTFT is" in text
    assert "Targets that no load keeps" in text


def test_another_seed_changes_only_what_is_random(result: dict[str, Any]) -> None:
    other = answer(plan_of(), seed=7, workers=1, timer_of=roofline).as_dict()
    assert other["plan"]["traffic"].pop("seed") == 7
    same = json.loads(json.dumps(result))
    assert same["plan"]["traffic"].pop("seed") == 0
    for key in ("plan", "assumptions"):
        assert other[key] == same[key]
    for one, again in zip(same["configurations"], other["configurations"], strict=True):
        for key in ("configuration", "gpu", "schedule", "price", "fits"):
            assert one[key] == again[key]
        for key in ("hbm_bytes", "weight_bytes", "activation_bytes", "kv_tokens"):
            assert one["memory"][key] == again["memory"][key]
        assert one["goodput_rps"] != again["goodput_rps"]
        assert one["goodput_rps"] == pytest.approx(again["goodput_rps"], rel=0.3)


def test_the_same_plan_gives_the_same_answer_for_any_number_of_processes(
    result: dict[str, Any],
) -> None:
    assert answer(plan_of(), workers=2, timer_of=roofline).as_dict() == result


def test_looser_targets_read_the_same_curves(result: dict[str, Any]) -> None:
    loose = answered(targets={"ttft_ms": 700, "tpot_ms": 60}).as_dict()
    random = ("met_fraction", "goodput_rps")
    for one, other in zip(result["configurations"], loose["configurations"], strict=True):
        assert other["fleet"]["gpus"] <= one["fleet"]["gpus"]
        for before, after in zip(one["curve"], other["curve"], strict=True):
            for key in before.keys() - random:
                assert before[key] == after[key]


def test_sensitivity_names_what_changes_the_answer_most_first(result: dict[str, Any]) -> None:
    rows = result["sensitivity"]
    assert {row["input"] for row in rows} == {
        "rate",
        "prompt length",
        "output length",
        "ttft target",
        "tpot target",
        "price",
        "step time",
    }
    assert {row["of"] for row in rows} == {result["answer"]["configuration"]}
    by = {(row["input"], row["change"]): row for row in rows}
    exact = by["price", "+20%"]["gpus_exact"]
    assert by["rate", "+20%"]["gpus_exact"] == pytest.approx(1.2 * exact)
    assert by["price", "+20%"]["usd_per_hour"] == pytest.approx(
        1.2 * result["answer"]["usd_per_hour"]
    )
    assert by["step time", "+10%"]["gpus_exact"] >= 1.1 * exact * (1 - 1e-9)
    for name in ("output length", "prompt length", "step time"):
        low = "-10%" if name == "step time" else "-20%"
        assert by[name, low]["gpus_exact"] < exact
    usd = exact * by["price", "+20%"]["usd_per_hour_exact"] / exact / 1.2
    swings = [abs(row["usd_per_hour_exact"] / usd - 1) for row in rows]
    assert swings[0] == max(swings) or swings[1] == max(swings)


def test_progress_ends_when_all_runs_have() -> None:
    told: list[tuple[int, int]] = []
    answer(
        plan_of(targets={"ttft_ms": 12, "tpot_ms": 30}),
        workers=1,
        timer_of=roofline,
        progress=lambda ended, total: told.append((ended, total)),
    )
    assert told[-1][0] == told[-1][1] > 0
    assert [ended for ended, _ in told] == sorted(ended for ended, _ in told)


def test_the_table_is_drawn_from_the_json_alone(result: dict[str, Any]) -> None:
    text = plan_table(json.loads(json.dumps(result, allow_nan=False)))
    assert text == plan_table(result)
    for part in ("test: Llama-3.1 8B", "h100_sxm x2", "What changes the answer", "Assumptions"):
        assert part in text


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 2**32 - 1), st.floats(0.5, 1.5))
def test_more_of_the_rate_never_needs_fewer_gpus(seed: int, share: float) -> None:
    one = {"gpus": ["h100_sxm"], "tensor_parallel": [1]}
    traffic = {"requests": 60, "seed": seed}
    less = answered(**one, traffic=traffic | {"rate_per_s": 30 * share})
    more = answered(**one, traffic=traffic | {"rate_per_s": 60 * share})
    assert (
        less.as_dict()["configurations"][0]["curve"]
        == (more.as_dict()["configurations"][0]["curve"])
    )
    assert less.answer()["gpus"] <= more.answer()["gpus"]


def test_what_does_not_fit_says_why() -> None:
    found = answered(model="llama3_1_70b", gpus=["h100_sxm"], tensor_parallel=[1, 3, 4, 64])
    reasons = [configuration.reason for configuration in found.configurations]
    assert "weights and activations need 141" in reasons[0]
    assert "expected a divisor of q_heads (64), found 3" in reasons[1]
    assert reasons[2] == ""
    assert "GPUs of a node" in reasons[3]
    assert found.best == 2


def test_a_request_longer_than_the_cache_does_not_fit() -> None:
    found = answered(
        gpus=["rtx_6000_ada"],
        tensor_parallel=[1],
        traffic={"prompt_tokens": {"p50": 300, "p90": 900_000}},
    )
    assert "the longest request has" in found.configurations[0].reason
    assert found.answer()["configuration"] is None
    assert not found.as_dict()["sensitivity"]
    assert "No configuration can run" in plan_table(found.as_dict())


# --- files and the command ---

FILE = """\
name: small
model: llama3_1_8b
gpus: [h100_sxm]
tensor_parallel: 1
traffic: {rate_per_s: 10, prompt_tokens: 500, output_tokens: {p50: 50, p90: 90}, requests: 40}
targets: {ttft_ms: 500, tpot_ms: 30}
"""


@pytest.mark.parametrize("name", shipped("workloads/plans"))
def test_every_shipped_plan_is_read_and_its_inputs_exist(name: str) -> None:
    plan = load_plan(name)
    requests = requests_of(plan.traffic)
    found = candidates(plan, load_model(plan.model), requests)
    assert sum(not one.reason for one in found) >= 6
    assert len(plan.description) > 20
    assert len(requests) >= 2000


def test_the_command_answers_in_three_forms(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(FILE)
    table = cli("plan", "small.yaml", "--workers", "1")
    assert (table.code, table.err) == (0, "")
    assert "1 x h100_sxm (1 replica of 1) hold 10.0 requests/s" in table.out
    found = json.loads(cli("plan", "small.yaml", "--workers", "1", "--format", "json").out)
    assert plan_table(found) == table.out
    cli("plan", "small.yaml", "--workers", "1", "--format", "csv", "--output", "out.csv")
    (row,) = csv.DictReader((tmp_path / "out.csv").read_text().splitlines())
    assert row["configuration"] == "h100_sxm x1"
    assert float(row["fleet.usd_per_hour"]) == found["answer"]["usd_per_hour"]


def test_a_plan_is_exported(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(FILE)
    found = gpusim.plan(tmp_path / "small.yaml", workers=1, timer_of=roofline)
    assert found.answer()["gpus"] == 1
    with pytest.raises(SpecError, match=r"test: model: zzz"):
        gpusim.plan(plan_of(model="zzz"), workers=1)
