"""The choices that a user may take out of a schedule's hands: tiles, warps, stages, splits."""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gpusim.errors import SpecError, nearest, plain
from gpusim.spec.kernel import Block, Registers, Splits, Stages, Warps
from gpusim.spec.validate import validate


class Tiling(BaseModel):
    """Overrides of a schedule's own choices; None leaves the choice to the schedule."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    block_m: Block | None = Field(default=None, description="query rows of a tile")
    block_n: Block | None = Field(default=None, description="keys of a KV tile")
    num_warps: Warps | None = Field(default=None, description="warps of a CTA")
    stages: Stages | None = Field(default=None, description="KV tiles in shared memory at once")
    num_splits: Splits | None = Field(
        default=None, description="parts that the KV range of an output is cut into"
    )
    samples: Annotated[int, Field(strict=True, ge=1, le=2**20)] | None = Field(
        default=None, description="value rows drawn per query head (SANTA)"
    )
    logit_sigma: Annotated[float, Field(ge=0, le=20, allow_inf_nan=False)] | None = Field(
        default=None, description="standard deviation of the attention logits (SANTA)"
    )
    algorithm: Literal["shipped", "paper"] | None = Field(
        default=None, description="FlashAttention-1 as released, or the paper's Algorithm 1"
    )
    fixed_maximum: Annotated[bool, Field(strict=True)] | None = Field(
        default=None, description="plan every sequence as long as the longest (LeanAttention)"
    )
    registers: Registers | None = Field(default=None, description="registers per thread")

    @cached_property
    def known(self) -> Mapping[str, Any]:
        """The overrides that were given."""
        return self.model_dump(exclude_none=True)


#: No overrides.
AS_SHIPPED = Tiling()


def tiling_for(options: dict[str, Any], allowed: frozenset[str], where: str) -> Tiling:
    """Validate options against those that the schedule has; `where` is the path of the schedule.

    Raises:
        SpecError: for an option that the schedule does not have, or a bad value.
    """
    for name in options:
        if not allowed:
            raise SpecError(f"{where}.{plain(name)}: expected no options, the schedule takes none")
        if name not in allowed:
            hint = nearest(name, allowed) or f"; known: {', '.join(sorted(allowed))}"
            raise SpecError(f"{where}.{plain(name)}: expected an option of the schedule{hint}")
    return validate(Tiling, options, where, join=".") if options else AS_SHIPPED
