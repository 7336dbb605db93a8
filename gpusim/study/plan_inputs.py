"""What a plan was made from, in numbers and in sentences, for those who read its answer."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpusim.spec.model import Model
from gpusim.spec.plan import Plan
from gpusim.study.plan_memory import cache_type
from gpusim.study.requests import WARM_UP, Requests


def inputs_of(plan: Plan, model: Model, requests: Requests) -> dict[str, Any]:
    """The plan as its file has it, with defaults filled in."""
    traffic = plan.traffic
    lengths = {
        name: value.as_dict()
        for name in ("prompt_tokens", "output_tokens")
        if (value := getattr(traffic, name)) is not None
    }
    return {
        "name": plan.name,
        "description": plan.description,
        "model": {
            "name": model.name,
            "parameters": model.parameters,
            "active_parameters": model.active_parameters,
        },
        "weight_dtype": plan.weight_dtype,
        "kv_dtype": cache_type(plan),
        "gpus": [choice.name for choice in plan.gpus],
        "tensor_parallel": list(plan.tensor_parallel),
        "traffic": {
            "rate_per_s": requests.rate_per_s,
            "requests": len(requests),
            "seed": traffic.seed,
            "arrivals": traffic.arrivals if traffic.csv is None else "csv",
            "csv": traffic.csv,
            **lengths,
        },
        "targets": plan.targets.model_dump(),
        "serving": plan.serving.model_dump(),
        "headroom": plan.headroom,
    }


def traffic_of(requests: Requests) -> dict[str, Any]:
    """What the simulated requests are: tokens of prompts and outputs."""
    return {
        "requests": len(requests),
        "rate_per_s": requests.rate_per_s,
        "prompt_tokens": _lengths(requests.prompt_tokens),
        "output_tokens": _lengths(requests.output_tokens),
        "mean_context_tokens": requests.mean_context,
    }


def _lengths(tokens: NDArray[np.int64]) -> dict[str, float]:
    named = {f"p{rank}": float(np.percentile(tokens, rank)) for rank in (50, 90, 99)}
    return {"mean": float(tokens.mean()), **named, "max": int(tokens.max())}


def assumptions(plan: Plan, model: Model) -> tuple[str, ...]:
    """What the answer rests on, a sentence each."""
    drawn = (
        "Arrivals are a Poisson process; prompt and output lengths are independent of each other."
        if plan.traffic.csv is None
        else "Every replica sees the order, gaps and lengths of the file, stretched to its rate."
    )
    window = any(layer.window is not None for layer in model.layers)
    found = [
        drawn,
        "Requests are shared evenly among replicas, each of which sees the same kind of traffic.",
        "A replica batches as vLLM's V1 scheduler does: decodes first, then prompts in chunks, in"
        " order of arrival; what is evicted when pages run out is computed again.",
        "No prefix is shared between requests, nothing is speculated, and prefill and decode run on"
        " the same GPUs.",
        f"Each step takes {plan.serving.overhead_us:g} us beside its kernels, an estimate that the"
        " plan can replace.",
        "Step times are predictions; the errors of their parts on measured rows are in"
        " validation/README.md, and the sensitivity to step time shows what they may change.",
        "Several prompt chunks in one step cost what one chunk with as many query-key pairs does.",
        "A GPU's memory is its profile's capacity in units of 10^9 bytes; activations are estimated"
        " from the widest layer and the logits.",
        f"Percentiles leave out the first {WARM_UP:.0%} of the requests, which fill the replica.",
        "Goodput is read off the curve's running maximum, linear between simulated rates; where a"
        " run ends before its replica has more to do than it can, throughput is an estimate.",
        "Power counts FLOP, HBM bytes and idle power of the GPUs; hosts, network and cooling are"
        " left out, as they are from the price unless the rent includes them.",
    ]
    if window:
        found.append("Layers with a window cache no more than it, at the traffic's mean context.")
    found += [f"The step leaves out {what}." for what in model.left_out]
    return tuple(found)
