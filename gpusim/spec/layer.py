"""One kind of decoder layer: how far its attention sees, and its MLP, dense or of experts."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from gpusim.spec.attention import Tokens
from gpusim.spec.provenance import Frozen

#: Sizes above these are taken for mistakes.
MAX_LAYERS, MAX_EXPERTS, MAX_WIDTH = 4096, 4096, 2**24

Width = Annotated[int, Field(strict=True, ge=8, le=MAX_WIDTH)]
Experts = Annotated[int, Field(strict=True, ge=0, le=MAX_EXPERTS)]


class Layer(Frozen):
    """`count` layers alike.

    A layer without experts has one MLP of `intermediate_size`. One with experts has a router, and
    `experts` MLPs of `intermediate_size` of which each token takes `experts_per_token`; beside
    them `shared_experts` of the same size, which every token takes, are one MLP.
    """

    count: Annotated[int, Field(strict=True, ge=1, le=MAX_LAYERS)]
    window: Tokens | None = Field(default=None, description="keys that a query sees, itself too")
    intermediate_size: Width = Field(description="of the MLP, or of one expert")
    experts: Experts = 0
    experts_per_token: Experts = 0
    shared_experts: Experts = 0

    @model_validator(mode="after")
    def _check_experts(self) -> Self:
        if self.experts and not 1 <= self.experts_per_token <= self.experts:
            raise ValueError(
                f"experts_per_token: expected 1 to {self.experts}, found {self.experts_per_token}"
            )
        for name in ("experts_per_token", "shared_experts"):
            if not self.experts and getattr(self, name):
                raise ValueError(f"{name}: expected only beside experts")
        return self

    @property
    def dense_size(self) -> int:
        """Width of the MLP that every token takes; 0 if there are routed experts alone."""
        return self.intermediate_size * (self.shared_experts if self.experts else 1)

    def active_experts(self, tokens: float) -> float:
        """Expected number of experts that so many tokens use.

        E·(1 - (1 - k/E)^tokens): each token takes k of E experts, all of them equally often and
        independently of other tokens.

        >>> layer = Layer(count=1, intermediate_size=8, experts=8, experts_per_token=2)
        >>> layer.active_experts(1), layer.active_experts(2)
        (2.0, 3.5)
        """
        if not self.experts:
            return 0.0
        unused: float = (1 - self.experts_per_token / self.experts) ** tokens
        return self.experts * (1 - unused)
