"""A small plan, and its answer with step times that cost nothing to make."""

from typing import Any

from step_timers import roofline

from gpusim.spec.plan import Plan
from gpusim.study.plan import plan as answer
from gpusim.study.plan_result import PlanResult

DOCUMENT: dict[str, Any] = {
    "name": "test",
    "model": "llama3_1_8b",
    "gpus": ["a100_sxm_80gb", "h100_sxm"],
    "tensor_parallel": [1, 2],
    "traffic": {
        "rate_per_s": 30,
        "prompt_tokens": {"p50": 300, "p90": 1000},
        "output_tokens": {"p50": 100, "p90": 300},
        "requests": 300,
    },
    "targets": {"ttft_ms": 500, "tpot_ms": 30},
    "serving": {"max_sequences": 64},
}


def plan_of(**changed: Any) -> Plan:
    """The test's plan; mappings are merged with its own."""
    merged = {
        key: DOCUMENT[key] | value if isinstance(DOCUMENT.get(key), dict) else value
        for key, value in changed.items()
    }
    return Plan.model_validate(DOCUMENT | merged)


def answered(**changed: Any) -> PlanResult:
    """Its answer with step times that cost nothing to make."""
    return answer(plan_of(**changed), workers=1, timer_of=roofline)
