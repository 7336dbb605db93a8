"""A plan file: a model, GPUs to choose from, traffic, and the latencies to hold."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from gpusim.spec.lengths import Lengths

_DATE = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01]))?")
MAX_REQUESTS = 1_000_000
MAX_DEGREE = 64

Share = Annotated[float, Field(strict=True, ge=0.01, le=1, allow_inf_nan=False)]
Amount = Annotated[float, Field(strict=True, ge=1e-9, le=1e9, allow_inf_nan=False)]
Degree = Annotated[int, Field(strict=True, ge=1, le=MAX_DEGREE)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Cached = Literal["fp16", "bf16", "fp8"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class GpuChoice(_Part):
    """A GPU to choose from, by name or file; its price, if it is another than the profile's."""

    name: Name
    usd_per_hour: Amount | None = Field(default=None, description="rent of one GPU")
    price_source: str = Field(default="", description="who asks this price")
    price_date: str = Field(default="", description="when the price was read, as YYYY-MM-DD")

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        if self.usd_per_hour is not None:
            for field in ("price_source", "price_date"):
                if not getattr(self, field):
                    raise ValueError(f"{field}: expected a value beside usd_per_hour, found none")
        if self.price_date and not _DATE.fullmatch(self.price_date):
            raise ValueError(
                f"price_date: expected a date as 2026-11-01 or 2026-11, found {self.price_date!r}"
            )
        return self


class Traffic(_Part):
    """Requests: a rate and two length distributions, or a CSV of requests.

    Without `csv`, arrivals are a Poisson process, and prompt and output lengths are independent.
    With `csv` (columns `arrival_s,prompt_tokens,output_tokens`) the file's order and gaps are kept;
    `rate_per_s` then stretches or shrinks its times to another rate.
    """

    rate_per_s: Amount | None = Field(default=None, description="requests of all users together")
    prompt_tokens: Lengths | None = None
    output_tokens: Lengths | None = None
    csv: str | None = Field(default=None, description="file of requests, beside the plan")
    requests: Annotated[int, Field(strict=True, ge=20, le=MAX_REQUESTS)] = Field(
        default=2000, description="how many are simulated at each rate; not with csv"
    )
    seed: Annotated[int, Field(strict=True, ge=0, le=2**32 - 1)] = 0
    arrivals: Literal["poisson"] = "poisson"

    @model_validator(mode="after")
    def _check_sources(self) -> Self:
        drawn = ("rate_per_s", "prompt_tokens", "output_tokens")
        for field in drawn:
            given = getattr(self, field) is not None
            if self.csv is None and not given:
                raise ValueError(f"{field}: expected a value (or csv), found none")
            if self.csv is not None and given and field != "rate_per_s":
                raise ValueError(f"{field}: expected either this or csv, found both")
        if self.csv is not None and "requests" in self.model_fields_set:
            raise ValueError("requests: expected either this or csv, found both")
        return self


class Targets(_Part):
    """Latencies that a share of the requests has to keep, each by itself."""

    ttft_ms: Amount = Field(description="time to first token, from arrival")
    tpot_ms: Amount = Field(description="time per output token after the first")
    percentile: Annotated[float, Field(strict=True, ge=1, le=99.99)] = Field(
        default=95, description="share of requests that keep the target, in per cent"
    )


class Serving(_Part):
    """How a replica serves; the defaults are vLLM's for an API server on a GPU like A100."""

    max_sequences: Annotated[int, Field(strict=True, ge=1, le=65536)] = Field(
        default=256, description="sequences that run at once"
    )
    chunk_tokens: Annotated[int, Field(strict=True, ge=1, le=2**20)] = Field(
        default=2048, description="tokens of one step, of decodes and prompt chunks together"
    )
    page_size: Annotated[int, Field(strict=True, ge=1, le=4096)] = Field(
        default=16, description="tokens of a page of the KV cache"
    )
    memory_fraction: Share = Field(
        default=0.9, description="share of HBM for weights, activations and KV cache"
    )
    overhead_us: Annotated[float, Field(strict=True, ge=0, le=1e6, allow_inf_nan=False)] = Field(
        default=500.0, description="time of each step outside kernels: scheduling, sampling, copies"
    )

    @model_validator(mode="after")
    def _check_budget(self) -> Self:
        if self.chunk_tokens < self.max_sequences:
            raise ValueError(
                f"chunk_tokens: expected at least max_sequences ({self.max_sequences}),"
                f" found {self.chunk_tokens}"
            )
        return self


class Plan(_Part):
    """What to plan for: the cheapest number of GPUs that holds the targets is looked for."""

    name: Name = Field(default="plan", description="title of the results; default: file's name")
    description: str = ""
    model: Name = Field(description="shipped model, model file or Hugging Face config.json")
    weight_dtype: Literal["fp16", "bf16", "fp8"] = "bf16"
    kv_dtype: Cached | None = Field(default=None, description="default: bf16 or fp16, as weights")
    gpus: Annotated[tuple[GpuChoice, ...], Field(min_length=1, max_length=64)]
    tensor_parallel: tuple[Degree, ...] = Field(
        default=(1, 2, 4, 8), description="GPUs of one replica"
    )
    schedule: str | None = Field(
        default=None,
        description="attention as a framework ships it; default: vLLM's FlashAttention-3 on GPUs"
        " with WGMMA, else its FlashAttention-2",
    )
    traffic: Traffic
    targets: Targets
    serving: Serving = Serving()
    headroom: Annotated[float, Field(strict=True, ge=0, le=10, allow_inf_nan=False)] = Field(
        default=0.2, description="rate kept free, as a share of the rate"
    )

    @field_validator("gpus", mode="before")
    @classmethod
    def _names_are_choices(cls, value: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            return value
        return [{"name": item} if isinstance(item, str) else item for item in value]

    @field_validator("tensor_parallel", mode="before")
    @classmethod
    def _one_degree_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, int) and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def _check_twice(self) -> Self:
        lists: dict[str, list[Any]] = {
            "gpus": [choice.name for choice in self.gpus],
            "tensor_parallel": list(self.tensor_parallel),
        }
        for field, values in lists.items():
            if not values:
                raise ValueError(f"{field}: expected at least 1 entry, found none")
            for index, value in enumerate(values):
                if value in values[:index]:
                    raise ValueError(f"{field}[{index}]: expected each once, found {value} again")
        return self
