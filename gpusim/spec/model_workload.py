"""A workload of a whole model: one forward pass over sequences, on one GPU or several."""

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from gpusim.spec.attention import DType, Sequence, check_sequences
from gpusim.spec.model import Model
from gpusim.spec.workload import Conditions, Workload

#: A step's overhead above this is taken for a mistake: ten seconds.
MAX_OVERHEAD_US = 1e7

Degree = Annotated[int, Field(strict=True, ge=1, le=1024)]
PageSize = Annotated[int, Field(strict=True, ge=1, le=2**16)]
Overhead = Annotated[float, Field(strict=True, ge=0, le=MAX_OVERHEAD_US, allow_inf_nan=False)]


class ModelWorkload(Conditions):
    """One step of a model: every sequence brings `q_len` new tokens.

    Prefill, decode and chunked prefill are lengths, and may be mixed. In a file `model` is a
    shipped name, a file (ours, or Hugging Face's `config.json`), or the shapes themselves.
    """

    model: Model
    tensor_parallel: Degree = Field(default=1, description="GPUs that share the model")
    weight_dtype: DType = Field(
        default="bf16", description="of projections; activations are in 16 bit"
    )
    kv_dtype: DType | None = Field(default=None, description="of the KV cache; default: 16 bit")
    page_size: PageSize | None = Field(
        default=None, description="tokens a page of the KV cache; default: the schedule's"
    )
    overhead_us: Overhead = Field(
        default=0.0, description="time of the step outside kernels: the framework's"
    )
    sequences: Annotated[tuple[Sequence, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _check_model(self) -> Self:
        reason = self.model.why_not_parallel(self.tensor_parallel)
        if reason:
            raise ValueError(f"tensor_parallel: {reason}")
        check_sequences(self.sequences, self.model.q_heads, causal=True)
        return self

    def parts(self) -> dict[str, Any]:
        """What a forward pass asks beside GPU, schedule and state of the machine."""
        names = ("tensor_parallel", "weight_dtype", "kv_dtype", "page_size", "overhead_us")
        return {name: getattr(self, name) for name in names}


AnyWorkload = Workload | ModelWorkload
