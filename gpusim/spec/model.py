"""A decoder-only language model by its shapes: parameters, weights and KV cache in bytes."""

from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gpusim.errors import SpecError
from gpusim.spec.attention import BYTES, Attention, DType, HeadDim, Heads, Sequence
from gpusim.spec.layer import Layer, Width
from gpusim.spec.projection import attention_projections, mlp_projections
from gpusim.spec.provenance import Frozen
from gpusim.units import ceil_div, round_up

#: Embeddings, head, norms and routers stay in 16 bit when the rest is quantised (vLLM).
PLAIN_BYTES = 2
#: vLLM pads the vocabulary to a multiple of this before it shares it out.
VOCABULARY_UNIT = 64

Rank = Annotated[int, Field(strict=True, ge=8, le=2**16)]


class Mla(Frozen):
    """Ranks of DeepSeek's multi-head latent attention; the cache holds `kv_rank` + `rope_dim`."""

    q_rank: Rank | None = Field(default=None, description="null: queries from the hidden state")
    kv_rank: Rank
    rope_dim: Rank = Field(description="part of head_dim with rotary positions")


class Model(Frozen):
    """Shapes of a decoder-only model.

    `q_heads`, `kv_heads` and `head_dim` hold for all layers; with `mla` every query head has a key
    and a value of its own, made from the cached latent. Biases are left out: they are less than a
    thousandth of the weights.
    """

    name: Annotated[str, Field(min_length=1, max_length=200)] = "model"
    source: str = Field(default="", description="where the shapes are from")
    hidden_size: Width
    vocab_size: Width
    tied_embeddings: Annotated[bool, Field(strict=True)] = False
    q_heads: Heads
    kv_heads: Heads
    head_dim: HeadDim
    v_head_dim: HeadDim | None = Field(default=None, description="default: head_dim")
    mla: Mla | None = None
    gated: Annotated[bool, Field(strict=True, description="the MLP has a gate (SwiGLU)")] = True
    norms_per_layer: Literal[2, 4] = Field(default=2, description="4: norms after each part too")
    qk_norm: Annotated[bool, Field(strict=True, description="norms of each head's Q and K")] = False
    layers: Annotated[tuple[Layer, ...], Field(min_length=1)]
    left_out: tuple[str, ...] = Field(
        default=(), description="what the model computes and no prediction counts"
    )

    @model_validator(mode="after")
    def _check_shapes(self) -> Self:
        if self.q_heads % self.kv_heads:
            raise ValueError(
                f"kv_heads: expected a divisor of q_heads ({self.q_heads}), found {self.kv_heads}"
            )
        if self.mla is not None and self.mla.rope_dim >= self.head_dim:
            raise ValueError(
                f"mla.rope_dim: expected less than head_dim ({self.head_dim}), found"
                f" {self.mla.rope_dim}"
            )
        return self

    @property
    def value_dim(self) -> int:
        """Width of a value row."""
        return self.v_head_dim or self.head_dim

    @property
    def num_layers(self) -> int:
        """Decoder layers."""
        return sum(layer.count for layer in self.layers)

    @property
    def has_experts(self) -> bool:
        """Whether any layer routes its tokens to experts."""
        return any(layer.experts for layer in self.layers)

    @cached_property
    def windows(self) -> dict[int | None, int]:
        """Layers by window; None: those that see everything."""
        found: dict[int | None, int] = {}
        for layer in self.layers:
            found[layer.window] = found.get(layer.window, 0) + layer.count
        return found

    @cached_property
    def mlps(self) -> dict[Layer, int]:
        """Layers by MLP: each kind once, without its window, and how many have it."""
        found: dict[Layer, int] = {}
        for layer in self.layers:
            kind = layer.model_copy(update={"count": 1, "window": None})
            found[kind] = found.get(kind, 0) + layer.count
        return found

    @cached_property
    def parameters(self) -> int:
        """All of them: embeddings, head, projections and norms."""
        embeddings = self.vocab_size * self.hidden_size * (1 if self.tied_embeddings else 2)
        matrices = sum(
            count * projection.parameters
            for layer, count in self.mlps.items()
            for projection in (*attention_projections(self), *mlp_projections(self, layer))
        )
        return embeddings + matrices + self._norm_parameters

    @cached_property
    def active_parameters(self) -> int:
        """Those that one token takes part in: all but the experts that it does not take."""
        idle = sum(
            count * p.parameters // layer.experts * (layer.experts - layer.experts_per_token)
            for layer, count in self.mlps.items()
            for p in mlp_projections(self, layer)
            if p.experts
        )
        return self.parameters - idle

    @property
    def _norm_parameters(self) -> int:
        norms = self.norms_per_layer * self.hidden_size + (2 * self.head_dim if self.qk_norm else 0)
        if self.mla is not None:
            norms += (self.mla.q_rank or 0) + self.mla.kv_rank
        return self.num_layers * norms + self.hidden_size

    def weight_bytes(self, dtype: str = "bf16", tensor_parallel: int = 1) -> int:
        """Bytes of the weights on one GPU, projections in `dtype` and the rest in 16 bit.

        Raises:
            SpecError: if the model cannot be shared among so many GPUs.
        """
        self.check_parallel(tensor_parallel)
        matrices = sum(
            count * projection.weight_bytes(BYTES[dtype])
            for layer, count in self.mlps.items()
            for projection in (
                *attention_projections(self, tensor_parallel),
                *mlp_projections(self, layer, tensor_parallel),
            )
        )
        rows = self.vocab_per_gpu(tensor_parallel) * (1 if self.tied_embeddings else 2)
        return matrices + PLAIN_BYTES * (rows * self.hidden_size + self._norm_parameters)

    def kv_layer_bytes(self, kv_dtype: str = "bf16", tensor_parallel: int = 1) -> int:
        """Bytes of one token's keys and values in one layer on one GPU.

        KV heads are replicated where there are more GPUs than heads, and MLA's latent always.

        Raises:
            SpecError: if the model cannot be shared among so many GPUs.
        """
        self.check_parallel(tensor_parallel)
        if self.mla is not None:
            return (self.mla.kv_rank + self.mla.rope_dim) * BYTES[kv_dtype]
        rows = self.kv_heads_per_gpu(tensor_parallel) * (self.head_dim + self.value_dim)
        return rows * BYTES[kv_dtype]

    def kv_bytes_per_token(self, kv_dtype: str = "bf16", tensor_parallel: int = 1) -> int:
        """Bytes of one token's keys and values in all layers on one GPU, windows not yet full."""
        return self.num_layers * self.kv_layer_bytes(kv_dtype, tensor_parallel)

    def kv_bytes(self, kv_len: float, kv_dtype: str = "bf16", tensor_parallel: int = 1) -> float:
        """Bytes of a sequence of so many cached tokens on one GPU; windows hold at most theirs."""
        held = sum(
            count * (kv_len if window is None else min(kv_len, window))
            for window, count in self.windows.items()
        )
        return held * self.kv_layer_bytes(kv_dtype, tensor_parallel)

    def kv_heads_per_gpu(self, tensor_parallel: int) -> int:
        """KV heads on one GPU: at least one, then held by several."""
        return max(1, self.kv_heads // tensor_parallel)

    def vocab_per_gpu(self, tensor_parallel: int) -> int:
        """Rows of the embedding and of the head on one GPU, padding included."""
        return ceil_div(round_up(self.vocab_size, VOCABULARY_UNIT), tensor_parallel)

    def why_not_parallel(self, tensor_parallel: int) -> str:
        """Why the model cannot be shared among so many GPUs; empty if it can."""
        found = f"found {tensor_parallel}"
        if tensor_parallel < 1 or self.q_heads % tensor_parallel:
            return f"expected a divisor of q_heads ({self.q_heads}), {found}"
        small, large = sorted((self.kv_heads, tensor_parallel))
        if self.mla is None and large % small:
            return f"expected a divisor or a multiple of kv_heads ({self.kv_heads}), {found}"
        for layer in self.layers:
            for size in (layer.intermediate_size, layer.dense_size):
                if size % tensor_parallel:
                    return f"expected a divisor of intermediate_size ({size}), {found}"
        return ""

    def check_parallel(self, tensor_parallel: int) -> None:
        """Refuse a number of GPUs that the model cannot be shared among.

        Raises:
            SpecError: which size does not divide.
        """
        reason = self.why_not_parallel(tensor_parallel)
        if reason:
            raise SpecError(f"tensor_parallel: {reason}")

    def attention(
        self,
        sequences: tuple[Sequence, ...],
        window: int | None,
        *,
        tensor_parallel: int = 1,
        dtype: DType = "bf16",
        kv_dtype: DType | None = None,
        page_size: int | None = None,
    ) -> Attention:
        """The attention of a layer with this window over sequences, on one GPU.

        With `mla` keys and values are those of every head, made from the latent before (prefill).

        Raises:
            SpecError: if the model cannot be shared among so many GPUs.
        """
        self.check_parallel(tensor_parallel)
        heads = self.q_heads // tensor_parallel
        return Attention(
            q_heads=heads,
            kv_heads=heads if self.mla else self.kv_heads_per_gpu(tensor_parallel),
            head_dim=self.head_dim,
            v_head_dim=self.v_head_dim,
            dtype=dtype,
            kv_dtype=None if self.mla else kv_dtype,
            window=window,
            page_size=None if self.mla else page_size,
            sequences=sequences,
        )
