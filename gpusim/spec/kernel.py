"""A kernel of the user's own, described in a workload file before it is written."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from gpusim.spec.formula import LARGEST, check

Block = Annotated[int, Field(strict=True, ge=16, le=1024, multiple_of=16)]
Warps = Annotated[int, Field(strict=True, ge=1, le=32)]
Stages = Annotated[int, Field(strict=True, ge=1, le=16)]
Registers = Annotated[int, Field(strict=True, ge=16, le=255)]
Splits = Annotated[int, Field(strict=True, ge=1, le=256)]
Formula = Annotated[str, Field(max_length=200)] | Annotated[float, Field(gt=0, le=LARGEST)]

PIPES = ("tensor", "exp2", "fp32", "convert", "shared_memory", "shuffle", "issue")


class KernelPart(BaseModel):
    """Work that one group of warps does in one go, per step: an amount for each pipe that it uses.

    Amounts are FLOP (tensor), bytes (shared_memory), warp instructions (issue) or results, as
    numbers or formulas over M, N, D, DV, W and E. The slowest pipe decides how long it takes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=40)]
    tensor: Formula | None = None
    exp2: Formula | None = None
    fp32: Formula | None = None
    convert: Formula | None = None
    shared_memory: Formula | None = None
    shuffle: Formula | None = None
    issue: Formula | None = None
    exposed: Annotated[bool, Field(strict=True)] = Field(
        default=False, description="hides behind nothing"
    )
    hidden: Annotated[bool, Field(strict=True)] = Field(
        default=False, description="only loads its pipe: copies that others make"
    )

    @field_validator(*PIPES)
    @classmethod
    def _is_arithmetic(cls, value: Formula | None) -> Formula | None:
        if value is not None:
            check(value)
        return value

    @model_validator(mode="after")
    def _uses_a_pipe(self) -> Self:
        if not self.amounts:
            raise ValueError(f"expected an amount for one of {', '.join(PIPES)}, found none")
        return self

    @property
    def amounts(self) -> dict[str, Formula]:
        """Formula by pipe."""
        return {p: getattr(self, p) for p in PIPES if getattr(self, p) is not None}


class Kernel(BaseModel):
    """A tiled forward kernel: its tile, what a step asks of the pipes, and how work reaches CTAs.

    `assignment`: 'tiles' (a CTA per query tile, split and head), 'persistent' (as many CTAs as fit
    draw tiles from a counter; a tile costs what it costs a CTA of its own), 'static' (they take
    every n-th), 'stream_k' (equal runs of KV tiles across outputs, merged in the same kernel).
    Splits add a combine launch. Left out, `tracks` is FlashAttention-2's one track: QKᵀ, softmax,
    PV.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    block_m: Block
    block_n: Block
    num_warps: Warps
    stages: Stages = 1
    registers: Registers | None = None
    smem_bytes: Annotated[int, Field(strict=True, ge=0, le=2**20)] | None = None
    pack_gqa: Annotated[bool, Field(strict=True)] = False
    num_splits: Splits = 1
    assignment: Literal["tiles", "persistent", "static", "stream_k"] = "tiles"
    order: Literal["raster", "longest_first"] = "raster"
    matrix_path: Literal["mma_sync", "wgmma"] = "mma_sync"
    ping_pong: Annotated[bool, Field(strict=True)] = False
    prefetch: Annotated[bool, Field(strict=True)] = Field(
        default=True, description="loads run ahead of the step that needs them"
    )
    prunes_window: Annotated[bool, Field(strict=True)] = Field(
        default=True, description="tiles outside a sliding window are not visited"
    )
    power_of_two: Annotated[bool, Field(strict=True)] = Field(
        default=False, description="head sizes padded to a power of two (Triton), else to 16"
    )
    converts_per_warp: Annotated[bool, Field(strict=True)] = Field(
        default=False,
        description="every warp converts what it reads of an FP8 cache; else each element once",
    )
    loads: Annotated[int, Field(strict=True, ge=1, le=64)] = 2
    syncs: Annotated[float, Field(ge=0, le=64)] = 1.0
    tracks: Annotated[tuple[tuple[KernelPart, ...], ...], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.assignment == "stream_k" and self.num_splits > 1:
            raise ValueError("num_splits: expected 1 with stream_k, which splits by itself")
        if self.matrix_path == "wgmma" and self.tracks is None:
            raise ValueError("tracks: expected, one per consumer warpgroup, with wgmma")
        if self.tracks is not None and not all(self.tracks):
            raise ValueError("tracks: expected at least one part in every track")
        return self
