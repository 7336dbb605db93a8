"""Step times that a test can work out by hand."""

from dataclasses import dataclass

from gpusim.spec.model import Model
from gpusim.spec.plan import Plan
from gpusim.study.plan_candidates import Candidate


@dataclass(frozen=True)
class Linear:
    """Time in us: a constant, and so much for each sequence, cached token and prompt token."""

    step: float = 10.0
    sequence: float = 0.0
    cached: float = 0.0
    prompt: float = 1.0

    def step_us(
        self,
        *,
        decode_batch: int,
        decode_kv_tokens: int,
        prefill_tokens: int,
        prefill_kv_tokens: int,  # noqa: ARG002 - the name is the protocol's
    ) -> float:
        """Time of a step."""
        return (
            self.step
            + self.sequence * decode_batch
            + self.cached * decode_kv_tokens
            + self.prompt * prefill_tokens
        )


@dataclass(frozen=True)
class Scaled:
    """Another timer's steps, each so much longer."""

    timer: Linear
    factor: float

    def step_us(self, **step: int) -> float:
        """Time of a step."""
        return self.factor * self.timer.step_us(**step)


def roofline(plan: Plan, model: Model, candidate: Candidate) -> Linear:  # noqa: ARG001
    """Weights and cache over the HBM's rate, prompt tokens over 400 TFLOP/s."""
    gpu, degree = candidate.gpu, candidate.tensor_parallel
    assert candidate.memory is not None
    bytes_per_us = gpu.hbm.sustained_gb_per_s * 1e3
    return Linear(
        step=model.weight_bytes("bf16", degree) / bytes_per_us + 300 * (degree > 1),
        sequence=5.0,
        cached=candidate.memory.kv_bytes_per_token / bytes_per_us,
        prompt=2 * model.active_parameters / degree / 4e8,
    )
