"""One FlashAttention tile: its shape, and the resources a CTA of it needs."""

from dataclasses import dataclass, replace

from gpusim.errors import SpecError
from gpusim.schedules.tiling import Tiling
from gpusim.spec.attention import Attention
from gpusim.units import round_up


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """Query rows and keys of a tile, its warps, its KV stages, and the padded head size."""

    block_m: int
    block_n: int
    num_warps: int
    head_dim: int
    stages: int = 1
    registers: int | None = None

    @property
    def threads(self) -> int:
        """Threads of the CTA."""
        return 32 * self.num_warps

    @property
    def smem_bytes(self) -> int:
        """Q tile and `stages` K and V tiles, 16 bit (FlashAttention-2 `kernel_traits.h`)."""
        kv = 2 * self.stages * self.block_n * self.head_dim
        return 2 * (self.block_m * self.head_dim + kv)

    @property
    def registers_per_thread(self) -> int:
        """Registers, unless given: the accumulators S, P (16 bit) and O, and 80 for all else.

        FlashAttention-2 publishes no register counts. Triton 3.9 builds of the same tiles use 60 to
        95 beyond the accumulators on sm_80, sm_89 and sm_90; the hardware stops at 255.
        """
        if self.registers is not None:
            return self.registers
        scores = self.block_m * self.block_n
        accumulators = scores + scores // 2 + self.block_m * self.head_dim
        return min(255, round_up(accumulators // self.threads + 80, 8))

    def overridden(self, tiling: Tiling) -> "Tile":
        """This tile with the user's choices in place of its own."""
        known = {k: v for k, v in tiling.known().items() if k in self.__dataclass_fields__}
        return replace(self, **known)


def padded_head_dim(attention: Attention, schedule: str, sizes: tuple[int, ...]) -> int:
    """Smallest head size that the kernel is built for and that holds the attention's.

    Raises:
        SpecError: if the kernel has none, or takes no such data type.
    """
    if attention.value_dim != attention.head_dim:
        raise SpecError(
            f"schedule {schedule}: attention.v_head_dim: expected head_dim"
            f" ({attention.head_dim}), found {attention.value_dim}"
        )
    if attention.dtype == "fp8":
        raise SpecError(f"schedule {schedule}: attention.dtype: expected fp16 or bf16, found fp8")
    for size in sizes:
        if attention.head_dim <= size:
            return size
    raise SpecError(
        f"schedule {schedule}: attention.head_dim: expected at most {sizes[-1]},"
        f" found {attention.head_dim}"
    )
