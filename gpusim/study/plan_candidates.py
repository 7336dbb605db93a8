"""The configurations of a plan: each GPU at each tensor-parallel degree, its price and memory."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from gpusim.errors import SpecError
from gpusim.spec.gpu import Gpu
from gpusim.spec.load import load_gpu
from gpusim.spec.model import Model
from gpusim.spec.plan import GpuChoice, Plan
from gpusim.study.batching import ReplicaLimits
from gpusim.study.plan_memory import Memory, cache_type, memory_of
from gpusim.study.requests import Requests
from gpusim.study.serving import StepTimer
from gpusim.study.serving_curve import Replica
from gpusim.study.serving_power import power_model
from gpusim.study.step_times import StepTimes

#: Attention as vLLM runs it on GPUs with and without WGMMA.
WITH_WGMMA, WITHOUT_WGMMA = "vllm_flash_attn_3", "vllm_flash_attn_2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Rent of one GPU, who asks it, and when it was read."""

    usd_per_hour: float
    source: str
    date: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One GPU type at one degree; `memory` is None where the model cannot be shared so."""

    gpu: Gpu
    tensor_parallel: int
    schedule: str
    price: Price
    memory: Memory | None
    reason: str

    @property
    def label(self) -> str:
        """Such as `h100_sxm x2`."""
        return f"{self.gpu.name} x{self.tensor_parallel}"


TimerOf = Callable[[Plan, Model, Candidate], StepTimer]


def candidates(plan: Plan, model: Model, requests: Requests) -> list[Candidate]:
    """All configurations, those that do not fit too.

    Raises:
        SpecError: for an unknown GPU.
    """
    found = []
    for index, choice in enumerate(plan.gpus):
        try:
            gpu = load_gpu(choice.name)
        except SpecError as error:
            raise SpecError(f"gpus[{index}]: {error}") from error
        for degree in plan.tensor_parallel:
            found.append(_candidate(plan, model, requests, choice, gpu, degree))
    return found


def replica_of(plan: Plan, model: Model, candidate: Candidate, timer_of: TimerOf) -> Replica:
    """What serves on a configuration that fits.

    Raises:
        SpecError: for a step that its schedule or GPU cannot take.
    """
    assert candidate.memory is not None
    serving, memory = plan.serving, candidate.memory
    return Replica(
        timer=timer_of(plan, model, candidate),
        limits=ReplicaLimits(
            max_sequences=serving.max_sequences,
            chunk_tokens=serving.chunk_tokens,
            page_size=serving.page_size,
            kv_pages=memory.kv_pages,
        ),
        overhead_us=serving.overhead_us,
        power=power_model(
            model,
            candidate.gpu,
            candidate.tensor_parallel,
            weight_dtype=plan.weight_dtype,
            kv_dtype=cache_type(plan),
            kv_token_bytes=memory.kv_bytes_per_token,
        ),
    )


def step_times(plan: Plan, model: Model, candidate: Candidate) -> StepTimer:
    """Step times of a configuration, from its forward passes."""
    assert candidate.memory is not None
    return StepTimes(
        model,
        candidate.gpu,
        candidate.schedule,
        tensor_parallel=candidate.tensor_parallel,
        weight_dtype=plan.weight_dtype,
        kv_dtype=cache_type(plan),
        page_size=plan.serving.page_size,
        max_chunk=plan.serving.chunk_tokens,
        max_batch=plan.serving.max_sequences,
        max_context=candidate.memory.longest_tokens,
    )


def _candidate(
    plan: Plan, model: Model, requests: Requests, choice: GpuChoice, gpu: Gpu, degree: int
) -> Candidate:
    memory, reason = None, ""
    try:
        memory = memory_of(plan, model, gpu, degree, requests)
        reason = memory.reason
    except SpecError as error:
        reason = str(error)
    return Candidate(
        gpu=gpu,
        tensor_parallel=degree,
        schedule=plan.schedule or _schedule(gpu),
        price=_price(choice, gpu),
        memory=memory,
        reason=reason,
    )


def _schedule(gpu: Gpu) -> str:
    return WITH_WGMMA if gpu.tensor.wgmma_flop_per_clock else WITHOUT_WGMMA


def _price(choice: GpuChoice, gpu: Gpu) -> Price:
    """The plan's, else the profile's, whose source has the date."""
    if choice.usd_per_hour is not None:
        return Price(
            usd_per_hour=choice.usd_per_hour, source=choice.price_source, date=choice.price_date
        )
    source = gpu.provenance["price.usd_per_hour"].source
    date = re.search(r"\d{4}-\d{2}(-\d{2})?", source)
    return Price(
        usd_per_hour=gpu.price.usd_per_hour, source=source, date=date[0] if date else "no date"
    )
