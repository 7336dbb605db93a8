"""The throughput-latency curve of one replica: a point for each rate of a grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpusim.spec.plan import Targets
from gpusim.study.batching import ReplicaLimits
from gpusim.study.requests import Requests
from gpusim.study.serving import StepTimer, serve
from gpusim.study.serving_log import ServingRun
from gpusim.study.serving_power import PowerModel
from gpusim.units import US_PER_S

#: Rates at which a replica is simulated, as shares of its estimated capacity. They depend on
#: nothing else, so that targets only choose among points that are the same for all of them.
LOADS = (0.02, 0.2, 0.35, 0.5, 0.6, 0.68, 0.75, 0.81, 0.87, 0.92, 0.97, 1.02, 1.1, 1.25)
#: Percentiles that every point has beside the targets'.
PERCENTILES = (50, 90, 99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """What a point of a curve needs: one replica, without its requests."""

    timer: StepTimer
    limits: ReplicaLimits
    overhead_us: float
    power: PowerModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One replica at one rate, after the first tenth of the requests.

    Attributes:
        rate_rps: requests that arrive per second; `load` is their share of the estimated capacity.
        served_rps: output tokens per second over the mean output, up to the last arrival.
        output_tokens_per_s, total_tokens_per_s: outputs alone, and with the prompts.
        ttft_ms, tpot_ms: by percentile ('p50'), and at the targets' one ('target').
        met_fraction: requests that keep both targets; `goodput_rps` is as many of the rate.
        busy_fraction: time in steps. mean_batch: decodes in a step, over time.
        kv_fraction: pages taken, over time.
        waiting_fraction: time in which the queue's head waits for this.
        watts: of one GPU.
        requests_in_system: on average over the whole run.
    """

    rate_rps: float
    load: float
    served_rps: float
    output_tokens_per_s: float
    total_tokens_per_s: float
    ttft_ms: dict[str, float]
    tpot_ms: dict[str, float]
    met_fraction: float
    goodput_rps: float
    busy_fraction: float
    mean_batch: float
    largest_batch: int
    kv_fraction: float
    preemptions: int
    steps: float
    waiting_fraction: dict[str, float]
    requests_in_system: float
    watts: float


def capacity_rps(requests: Requests, replica: Replica) -> float:
    """An estimate of what a replica can serve: the steady state of a full batch.

    With B sequences that run, prompts of P and outputs of O tokens on average, B/O requests end
    with each step, so that B·P/O prompt tokens are new in it. B is what sequences, pages and the
    step's tokens allow.
    """
    outputs, prompts = float(requests.output_tokens.mean()), float(requests.prompt_tokens.mean())
    budget = replica.limits.chunk_tokens / (1 + prompts / outputs)
    batch = min(full_batch(requests, replica.limits), budget)
    new = batch * prompts / outputs
    pairs = float((requests.prompt_tokens**2).sum() / requests.prompt_tokens.sum()) / 2
    step_us = replica.overhead_us + replica.timer.step_us(
        decode_batch=max(1, round(batch)),
        decode_kv_tokens=max(1, round(batch * requests.mean_context)),
        prefill_tokens=max(1, round(new)),
        prefill_kv_tokens=max(1, round(pairs + new / 2)),
    )
    return float(batch / outputs / (step_us / US_PER_S))


def full_batch(requests: Requests, limits: ReplicaLimits) -> int:
    """Sequences that run at once at most, at the mean context of the traffic."""
    held = requests.mean_context + limits.page_size / 2  # the last page is half full
    cached = int(limits.kv_pages * limits.page_size / held)
    return max(1, min(limits.max_sequences, cached))


def point(
    replica: Replica, requests: Requests, rate_rps: float, load: float, targets: Targets
) -> Point:
    """Serve all requests at one rate."""
    run = serve(requests, rate_rps, replica.timer, replica.limits, overhead_us=replica.overhead_us)
    meter, window_s = run.meter, run.meter.window_us / US_PER_S
    counted = slice(run.first_counted, None)
    ttft, tpot = run.ttft_us[counted] / 1e3, run.tpot_us[counted] / 1e3
    several = run.output_tokens[counted] > 1
    met = (ttft <= targets.ttft_ms) & ((tpot <= targets.tpot_ms) | ~several)
    firsts = _within(run.first_us, run)
    output_rate = (meter.decode_tokens + firsts) / window_s
    met_fraction = float(met.mean())
    end_us = float(run.done_us.max())
    return Point(
        rate_rps=rate_rps,
        load=load,
        served_rps=output_rate / float(requests.output_tokens.mean()),
        output_tokens_per_s=output_rate,
        total_tokens_per_s=output_rate + meter.prefill_tokens / window_s,
        ttft_ms=_percentiles(ttft, targets.percentile),
        tpot_ms=_percentiles(tpot[several], targets.percentile),
        met_fraction=met_fraction,
        goodput_rps=rate_rps * met_fraction,
        busy_fraction=meter.busy_us / meter.window_us,
        mean_batch=meter.batch_us / meter.window_us,
        largest_batch=meter.largest_batch,
        kv_fraction=meter.pages_us / meter.window_us,
        preemptions=run.preemptions,
        steps=meter.steps,
        waiting_fraction={name: us / meter.window_us for name, us in meter.waited_us.items()},
        requests_in_system=run.in_system_us / end_us,
        watts=replica.power.watts(meter),
    )


def _within(times: Any, run: ServingRun) -> int:
    meter = run.meter
    return int(((times > meter.start_us) & (times <= meter.end_us)).sum())


def _percentiles(values: Any, target: float) -> dict[str, float]:
    """By name; zeros where no request has a value (outputs of one token have no TPOT)."""
    ranks: Sequence[float] = (*PERCENTILES, target)
    found = np.percentile(values, ranks) if len(values) else np.zeros(len(ranks))
    names = [*(f"p{rank}" for rank in PERCENTILES), "target"]
    return {name: float(value) for name, value in zip(names, found, strict=True)}
