"""The page of a plan: what a manager reads first, if targets are met, missed, or nothing runs."""

import json
from typing import Any

import pytest
from test_page import Reader

from gpusim.report.page import render_page
from gpusim.report.page_inputs import Inputs
from gpusim.report.plan import edge_text
from gpusim.report.plan_page import plan_page
from gpusim.report.plan_rows import usd
from gpusim.spec.load import load_gpu

TAILS = {"p50": 0.5, "p90": 0.9, "p99": 1.1, "target": 1.0}
SPACE = "\N{NO-BREAK SPACE}"
TIMES = f"{SPACE}\N{MULTIPLICATION SIGN}"


def _point(rate: float, ttft: float, tpot: float) -> dict[str, Any]:
    return {
        "rate_rps": rate,
        "ttft_ms": {tail: ttft * part for tail, part in TAILS.items()},
        "tpot_ms": {tail: tpot * part for tail, part in TAILS.items()},
        "mean_batch": 4.0,
        "kv_fraction": 0.25,
        "preemptions": 0,
        "watts": 300.0,
    }


def _configuration(gpu: str, degree: int, usd_per_hour: float, **other: Any) -> dict[str, Any]:
    """One that meets the targets with 4 GPUs."""
    memory = {
        "usable_bytes": 72e9,
        "weight_bytes": 16e9,
        "activation_bytes": 1e9,
        "kv_bytes": 55e9,
        "kv_tokens": 400_000,
    }
    fleet = {
        "replicas": 4 // degree,
        "replicas_exact": 3.9 / degree,
        "short_by": 0.2,
        "gpus": 4,
        "goodput_rps": 48.0,
        "usd_per_hour": 4 * usd_per_hour,
        "usd_per_million_output_tokens": 0.25,
        "usd_per_million_total_tokens": 0.05,
        "watts": 1200.0,
        "operating_point": _point(10.0, 250.0, 20.0),
    }
    return {
        "configuration": f"{gpu} x{degree}",
        "gpu": gpu,
        "tensor_parallel": degree,
        "schedule": "vllm_flash_attn_2",
        "price": {"usd_per_hour": usd_per_hour, "source": "<a list>", "date": "2026-11-09"},
        "fits": True,
        "reason": "",
        "memory": memory,
        "max_batch": 256,
        "goodput_rps": 12.0 * degree,
        "binds": "ttft",
        "because": "max_sequences",
        "missed": [],
        "meets_targets": True,
        "fleet": fleet,
        "curve": [_point(1.0, 100.0, 10.0), _point(12.0, 500.0, 40.0)],
    } | other


def _changes(gpus: int | None) -> list[dict[str, Any]]:
    price = None if gpus is None else 1.0 * gpus
    return [
        {
            "input": "step time",
            "change": change,
            "of": "l40s x1",
            "gpus": gpus,
            "gpus_exact": gpus,
            "usd_per_hour": price,
            "usd_per_hour_exact": price,
            "cheapest": "l40s x1",
        }
        for change in ("-10%", "+10%")
    ]


def _result(configurations: list[dict[str, Any]], **answer: Any) -> dict[str, Any]:
    lengths = {"mean": 500.0, "p50": 400.0, "p90": 900.0, "p99": 2000.0, "max": 4000}
    return {
        "plan": {
            "name": "Chat <b>",
            "model": {"name": "Llama"},
            "gpus": ["l40s", "h100_sxm"],
            "traffic": {"rate_per_s": 40.0},
            "targets": {"ttft_ms": 500.0, "tpot_ms": 40.0, "percentile": 95.0},
            "serving": {"max_sequences": 256, "chunk_tokens": 2048},
            "headroom": 0.2,
        },
        "traffic": {"requests": 4000, "prompt_tokens": lengths, "output_tokens": lengths},
        "answer": {"configuration": None, "meets_targets": False, "missed": []} | answer,
        "configurations": configurations,
        "sensitivity": [],
        "assumptions": ["It is <so>."],
    }


def _met(gpus: int | None = 4) -> dict[str, Any]:
    found = [_configuration("h100_sxm", 2, 2.0), _configuration("l40s", 1, 1.0)]
    fleet = {key: value for key, value in found[1]["fleet"].items() if key != "operating_point"}
    named = {"configuration": "l40s x1", "gpu": "l40s", "tensor_parallel": 1}
    bound = {"binds": "ttft", "because": "max_sequences"}
    result = _result(found, **named, **fleet, **bound, meets_targets=True)
    return result | {"sensitivity": _changes(gpus)}


def _missed() -> dict[str, Any]:
    miss = {"target": "ttft", "found_ms": 600.0, "limit_ms": 500.0, "over": 0.2}
    nothing = {"fleet": None, "meets_targets": False, "goodput_rps": 0.0}
    near = _configuration("l40s", 1, 1.0, **nothing, missed=[miss])
    none = {"fits": False, "reason": "weights need <142 GB>", "curve": [], "memory": None}
    small = _configuration("l40s", 2, 1.0, **(nothing | none | {"goodput_rps": None}))
    return _result([near, small], configuration="l40s x1", gpu="l40s", missed=[miss]) | {
        "sensitivity": _changes(None)
    }


def _page(result: dict[str, Any]) -> Reader:
    gpus = [load_gpu(name) for name in ("l40s", "h100_sxm")]
    page = Reader(
        render_page(plan_page(result, Inputs(command="gpusim plan x", gpus=gpus))).decode()
    )
    assert page.open == []
    assert json.loads(page.numbers)["results"] == result
    return page


def page_of_a_plan(*, met: bool) -> bytes:
    """A page for other tests."""
    return render_page(plan_page(_met() if met else _missed(), Inputs(command="gpusim plan x")))


def test_the_decision_comes_first() -> None:
    """4 GPUs at 1 $/h: 730 x 4 = 2,920 $ a month."""
    text = _page(_met()).text
    answer = f"Rent 4{TIMES} NVIDIA L40S 48 GB: $4.00 an hour, $2,920 a month."
    assert 0 < text.index(answer) < text.index("Choice")
    assert "4 replicas of one GPU hold the targets up to 48 requests per second" in text
    assert "a replica runs at most 256 sequences at once" in text
    assert f"4{TIMES} NVIDIA H100 SXM5 80 GB at $8.00 an hour, 100{SPACE}% more." in text
    assert f"holds even if every step takes 10{SPACE}% longer" in text
    assert "$1.00 a GPU, read 2026-11-09" in text


def test_the_cheapest_stands_first_and_is_marked() -> None:
    text = render_page(plan_page(_met(), Inputs(command="c"))).decode()
    rows = text.split("Configurations that meet the targets")[2].split("</table>")[0]
    assert rows.index("l40s x1") < rows.index("h100_sxm x2")
    assert rows.count('class="best"') == 1
    assert rows.index('class="best"') < rows.index("l40s x1")


@pytest.mark.parametrize(
    ("gpus", "said"),
    [
        (6, f"If every step took 10{SPACE}% longer than predicted, it would take 6 GPUs at $6.00"),
        (None, f"If steps took 10{SPACE}% longer than predicted, a target would be missed."),
    ],
)
def test_it_says_how_sure_the_answer_is(gpus: int | None, said: str) -> None:
    assert said in _page(_met(gpus)).text


def test_a_missed_target_is_said_with_by_how_much() -> None:
    text = _page(_missed()).text
    assert "No number of these GPUs keeps the targets." in text
    miss = f"the time to first token is 600{SPACE}ms even when nearly idle, 20{SPACE}% over"
    assert text.count(miss) == 2
    assert f"The nearest is l40s x1: {miss} 500{SPACE}ms." in text
    assert "weights need <142 GB>" in text
    assert "Configurations that meet" not in text


def test_a_model_that_fits_nowhere_is_said() -> None:
    (none,) = (row for row in _missed()["configurations"] if not row["fits"])
    text = _page(_result([none])).text
    assert "None of these GPUs can run the model." in text
    assert "weights need <142 GB>" in text


def test_numbers_of_the_figures_are_in_the_page() -> None:
    """12 requests/s on one GPU of 1 $/h; the base is 40 x 1.2 / 12 GPUs at 1 $/h."""
    held = json.loads(_page(_met()).numbers)
    points = [row for row in held["figures"]["curves"] if row["configuration"] == "l40s x1"]
    assert [(row["x"], row["y"]) for row in points[:2]] == [(1.0, 100.0), (12.0, 500.0)]
    (bar,) = held["figures"]["changes"]
    assert (bar["label"], bar["base"], bar["high"]) == ("step time (±10%)", 4.0, 4.0)
    assert held["usd_per_month"] == {"h100_sxm x2": 5840.0, "l40s x1": 2920.0}


def test_money_has_cents_where_they_matter() -> None:
    assert [usd(value) for value in (0.0613, 8.72, 95.76, 69904.8)] == [
        "$0.061",
        "$8.72",
        "$95.76",
        "$69,905",
    ]


def test_an_answer_that_one_replica_less_would_almost_do_says_so() -> None:
    assert edge_text({"replicas": 3, "short_by": 0.002}) == (
        " One replica less would fall short of the rate by 0.2%."
    )
    assert edge_text({"replicas": 3, "short_by": 0.2}) == ""
    assert edge_text({"replicas": 1, "short_by": 0.0}) == ""
