"""One FlashAttention tile: its shape, and the resources a CTA of it needs."""

from dataclasses import dataclass, replace

from gpusim.errors import SpecError
from gpusim.schedules.tiling import Tiling
from gpusim.spec.attention import Attention
from gpusim.spec.compiled import Resources
from gpusim.units import round_up


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """Query rows and keys of a tile, its warps, its KV stages, and the padded head size.

    `v_head_dim` is head_dim unless given; `extra_smem_bytes` is what the kernel stages beside Q, K
    and V; `registers` and `smem`, if given, are known and not to be estimated; with
    `q_in_registers`, Q only passes through the shared memory of K and V; `producer_warps` load and
    do not compute; `matrix_path` names the matrix instructions; with `converts_per_warp` every warp
    converts what it reads of a narrower cache, else each element is converted once.
    """

    block_m: int
    block_n: int
    num_warps: int
    head_dim: int
    v_head_dim: int | None = None
    stages: int = 1
    registers: int | None = None
    smem: int | None = None
    matrix_path: str = "mma_sync"
    converts_per_warp: bool = False
    element_bytes: int = 2
    q_in_registers: bool = False
    extra_smem_bytes: int = 0
    producer_warps: int = 0

    @property
    def value_dim(self) -> int:
        """Padded width of a value row."""
        return self.v_head_dim or self.head_dim

    @property
    def threads(self) -> int:
        """Threads of the CTA."""
        return 32 * self.num_warps

    @property
    def smem_bytes(self) -> int:
        """Q, `stages` K and V tiles (FlashAttention-2 `kernel_traits.h`), the extra; or known."""
        if self.smem is not None:
            return self.smem
        q = self.block_m * self.head_dim
        kv = self.stages * self.block_n * (self.head_dim + self.value_dim)
        elements = max(q, kv) if self.q_in_registers else q + kv
        return self.element_bytes * elements + self.extra_smem_bytes

    @property
    def registers_per_thread(self) -> int:
        """Registers, unless given: the accumulators S, P (16 bit) and O, and 80 for all else.

        FlashAttention-2 publishes no register counts. Triton 3.9 builds of the same tiles use 60 to
        95 beyond the accumulators on sm_80, sm_89 and sm_90; the hardware stops at 255.
        """
        if self.registers is not None:
            return self.registers
        scores = self.block_m * self.block_n
        accumulators = scores + scores // 2 + self.block_m * self.value_dim
        return min(255, round_up(accumulators // self.threads + 80, 8))

    @property
    def resources(self) -> Resources:
        """What a CTA takes of an SM."""
        return Resources(
            threads=self.threads,
            registers=self.registers_per_thread,
            smem_bytes=self.smem_bytes,
        )

    @property
    def choice(self) -> dict[str, int]:
        """The tile as a result shows it."""
        names = ("block_m", "block_n", "num_warps", "stages")
        return {name: getattr(self, name) for name in names}

    def overridden(self, tiling: Tiling) -> "Tile":
        """This tile with the user's choices in place of its own.

        Raises:
            SpecError: if a warp would have less than the 16 rows of a matrix instruction, or a
                thread more accumulators than registers.
        """
        known = {k: v for k, v in tiling.known.items() if k in self.__dataclass_fields__}
        if not known:
            return self
        tile = replace(self, **known)
        most = tile.block_m // 16 + tile.producer_warps
        if tile.num_warps > most:
            raise SpecError(
                f"num_warps: expected at most {most} (16 rows of block_m a warp),"
                f" found {tile.num_warps}"
            )
        room = tile.registers or 255
        accumulators = tile.block_m * (tile.block_n + tile.value_dim) // tile.threads
        if accumulators > room:
            raise SpecError(
                f"num_warps: expected enough threads for {accumulators} accumulators of a"
                f" {tile.block_m}x{tile.block_n} tile in {room} registers, found {tile.threads}"
            )
        return tile


def padded_head_dim(attention: Attention, sizes: tuple[int, ...]) -> int:
    """Smallest head size that the kernel is built for and that holds the attention's.

    Raises:
        SpecError: if the kernel has none, or takes no such data type.
    """
    if attention.value_dim != attention.head_dim:
        raise SpecError(
            f"attention.v_head_dim: expected head_dim ({attention.head_dim}),"
            f" found {attention.value_dim}"
        )
    if attention.dtype == "fp8":
        raise SpecError("attention.dtype: expected fp16 or bf16, found fp8")
    for size in sizes:
        if attention.head_dim <= size:
            return size
    raise SpecError(f"attention.head_dim: expected at most {sizes[-1]}, found {attention.head_dim}")
