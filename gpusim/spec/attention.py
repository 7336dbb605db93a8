"""What attention has to compute: heads, lengths, masks and data types, but not how."""

from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

DType = Literal["fp16", "bf16", "fp8"]
BYTES = {"fp16": 2, "bf16": 2, "fp8": 1}

#: Sizes above these are taken for mistakes: 16 Mi tokens a sequence, 1 Mi sequences a batch, 2 Gi
#: query rows (tokens times query heads) a call.
MAX_TOKENS = 2**24
MAX_SEQUENCES = 2**20
MAX_QUERY_ROWS = 2**31

Heads = Annotated[int, Field(strict=True, ge=1, le=4096)]
HeadDim = Annotated[int, Field(strict=True, ge=8, le=512, multiple_of=8)]
Tokens = Annotated[int, Field(strict=True, ge=1, le=MAX_TOKENS)]


class Sequence(BaseModel):
    """`count` sequences alike: `q_len` new queries over `kv_len` keys, their own included."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: Annotated[int, Field(strict=True, ge=1, le=MAX_SEQUENCES)] = 1
    q_len: Tokens
    kv_len: Tokens


def check_sequences(sequences: tuple[Sequence, ...], q_heads: int, *, causal: bool) -> None:
    """Refuse lengths that do not go together, and absurd sums.

    Raises:
        ValueError: which, what was expected and what was found.
    """
    for i, s in enumerate(sequences):
        if causal and s.q_len > s.kv_len:
            raise ValueError(
                f"sequences[{i}].kv_len: expected at least q_len ({s.q_len}) under a causal mask,"
                f" found {s.kv_len}"
            )
    batch = sum(s.count for s in sequences)
    if batch > MAX_SEQUENCES:
        raise ValueError(f"sequences: expected at most {MAX_SEQUENCES} in all, found {batch}")
    rows = sum(s.count * s.q_len for s in sequences) * q_heads
    if rows > MAX_QUERY_ROWS:
        raise ValueError(
            f"sequences: expected at most {MAX_QUERY_ROWS} queries times q_heads, found {rows}"
        )


class Attention(BaseModel):
    """One attention call over a batch of ragged sequences.

    MHA, GQA and MQA are head counts; prefill, decode, chunked prefill and speculative verification
    are lengths. Queries are the last `q_len` of `kv_len` positions (the mask is aligned bottom
    right).
    `window` is the number of keys that a query sees, itself included, on each side that the causal
    mask leaves open.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    q_heads: Heads
    kv_heads: Heads
    head_dim: HeadDim
    v_head_dim: HeadDim | None = Field(default=None, description="default: head_dim")
    dtype: DType = "bf16"
    kv_dtype: DType | None = Field(default=None, description="type of the KV cache; default: dtype")
    causal: Annotated[bool, Field(strict=True)] = True
    window: Tokens | None = None
    page_size: Annotated[int, Field(strict=True, ge=1, le=2**16)] | None = Field(
        default=None, description="tokens a page of a paged KV cache; default: contiguous"
    )
    sequences: Annotated[tuple[Sequence, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _check_shapes(self) -> Self:
        if self.q_heads % self.kv_heads:
            raise ValueError(
                f"kv_heads: expected a divisor of q_heads ({self.q_heads}), found {self.kv_heads}"
            )
        check_sequences(self.sequences, self.q_heads, causal=self.causal)
        return self

    @cached_property
    def batch(self) -> int:
        """Number of sequences."""
        return sum(s.count for s in self.sequences)

    @property
    def group_size(self) -> int:
        """Query heads that share one KV head."""
        return self.q_heads // self.kv_heads

    @property
    def value_dim(self) -> int:
        """Width of a value row."""
        return self.v_head_dim or self.head_dim

    @property
    def element_bytes(self) -> int:
        """Bytes of one query or output element (FP8 attention writes a 16-bit output)."""
        return BYTES[self.dtype]

    @property
    def output_bytes(self) -> int:
        """Bytes of one output element."""
        return max(2, BYTES[self.dtype])

    @property
    def cache_dtype(self) -> str:
        """Data type of keys and values."""
        return self.kv_dtype or self.dtype

    @property
    def kv_row_bytes(self) -> int:
        """Bytes of one token's key and value row in one KV head."""
        return (self.head_dim + self.value_dim) * BYTES[self.cache_dtype]

    @cached_property
    def effective_window(self) -> int | None:
        """The window, or None where it is as wide as the longest sequence and hides nothing.

        Kernels drop such a window before they choose a tile or pack heads; vLLM's fork of
        FlashAttention-2 does so only after packing.
        """
        longest = max(s.kv_len for s in self.sequences)
        return self.window if self.window is not None and self.window < longest else None

    @property
    def single_query(self) -> bool:
        """Whether every sequence brings one query: plain decode."""
        return all(s.q_len == 1 for s in self.sequences)
