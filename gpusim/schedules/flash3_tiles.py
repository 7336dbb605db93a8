"""FlashAttention-3's tile tables (`hopper/tile_size.h` of flash-attention, HEAD of August 2026)."""

from dataclasses import dataclass, replace
from functools import lru_cache

from gpusim.errors import SpecError
from gpusim.schedules.tile import Tile
from gpusim.schedules.tiling import Tiling


@dataclass(frozen=True, slots=True, kw_only=True)
class Flash3Case:
    """What the tables ask about a problem; `fork` asks those of vLLM's fork."""

    head_dim: int
    v_head_dim: int
    causal: bool
    local: bool
    paged_gather: bool
    rows: int
    fork: bool = False

    @property
    def one_group(self) -> bool:
        """Whether one warpgroup computes (`use_one_mma_wg`): few rows; not for windows in vLLM."""
        return self.rows <= 64 and self.head_dim in (64, 128) and not (self.fork and self.local)

    @property
    def masked(self) -> bool:
        """Whether the narrow column of the 16-bit table applies."""
        return self.causal or self.local or self.paged_gather


#: Head sizes that the kernels are instantiated for.
HEAD_DIMS = (64, 96, 128, 192, 256)
#: Keys of vLLM's FP8 tiles of two or three warpgroups, by largest head size.
FORK_FP8_KEYS = ((64, 128), (96, 128), (128, 192), (192, 96), (256, 128))


@lru_cache(maxsize=1024)
def sm90_tile(case: Flash3Case) -> Tile:
    """16-bit tiles on Hopper: one producer warpgroup beside block_m/64 that compute, two KV stages.

    Up to 64 packed rows and a head size of 64 or 128, one warpgroup computes (written for vLLM's
    fork; measured latencies show it in SGLang's FA3 as well, there with windows too).
    """
    d = case.head_dim
    if case.one_group:
        return _sm90(case, 64, 192 if d == 64 else 128 if case.masked else 176)
    if d <= 64 and case.fork and case.masked and (case.local or not case.causal):
        return _sm90(case, 192, 160, p_in_smem=not case.local)
    if d <= 64:
        return _sm90(case, 192, 128) if case.masked else _sm90(case, 192, 192, p_in_smem=True)
    if d <= 96:
        gathers = case.local or case.paged_gather
        return _sm90(case, 192, 128 if gathers else 144, p_in_smem=True)
    if d <= 128:
        return _sm90(case, 128, 128 if case.masked else 176)
    if d <= 192:
        narrow = case.paged_gather or case.local
        return _sm90(case, 128, 96 if narrow else 128 if case.v_head_dim <= 128 else 112)
    return _sm90(case, 128, 64 if case.local else 80)


@lru_cache(maxsize=1024)
def sm90_fp8_tile(case: Flash3Case) -> Tile:
    """e4m3 tiles on Hopper; V is staged a second time, transposed.

    Those of the fork leave registers for a second accumulator (`flash3_two_level.py`).
    """
    d = case.head_dim
    if case.one_group:
        return _sm90(case, 64, 128 if d == 64 else 96, fp8=True)
    if case.fork:
        narrow = next(n for limit, n in FORK_FP8_KEYS if d <= limit)
        keys = 64 if d > 192 and case.local else narrow
        return _sm90(case, 192 if d <= 64 else 128, keys, fp8=True)
    if d <= 64:
        return _sm90(case, 192, 160, fp8=True)
    if d <= 96:
        return _sm90(case, 192, 128, fp8=True)
    if d <= 128:
        return _sm90(case, 128, 160 if case.paged_gather else 224, fp8=True)
    if d <= 192:
        return _sm90(case, 128, 128 if case.paged_gather and case.local else 160, fp8=True)
    return _sm90(case, 128, 64 if case.local else 128, fp8=True)


#: Registers per thread as compiled, by consumer warpgroups: the register file over all threads.
SM90_REGISTERS = {1: 255, 2: 168, 3: 128}


def _sm90(
    case: Flash3Case, block_m: int, block_n: int, *, fp8: bool = False, p_in_smem: bool = False
) -> Tile:
    extra = block_m * block_n * 2 if p_in_smem else 2 * block_n * case.v_head_dim if fp8 else 0
    return Tile(
        block_m=block_m,
        block_n=block_n,
        num_warps=4 * (block_m // 64 + 1),
        producer_warps=4,
        head_dim=case.head_dim,
        v_head_dim=case.v_head_dim,
        stages=2,
        registers=SM90_REGISTERS[block_m // 64],
        element_bytes=1 if fp8 else 2,
        extra_smem_bytes=extra,
    )


def sm90_overridden(tile: Tile, tiling: Tiling) -> Tile:
    """The tile with the user's choices; its warps follow its rows, 64 a consumer warpgroup.

    Raises:
        SpecError: if the rows make no one to three warpgroups, or warps are asked for beside them.
    """
    if not tiling.known:
        return tile
    groups, rest = divmod(tiling.block_m or tile.block_m, 64)
    if rest or groups not in SM90_REGISTERS:
        raise SpecError(f"block_m: expected 64, 128 or 192, found {tiling.block_m}")
    if tiling.num_warps is not None:
        raise SpecError(
            f"num_warps: expected none, block_m decides on Hopper, found {tiling.num_warps}"
        )
    warps = 4 * (groups + 1)
    shaped = replace(tile, num_warps=warps, registers=SM90_REGISTERS[groups])
    return shaped.overridden(tiling)


@lru_cache(maxsize=1024)
def sm8x_tile(case: Flash3Case, *, sm80: bool, varlen_split: bool) -> Tile:
    """The same repository's tiles for Ampere and Ada: 128 query rows always.

    `varlen_split` is the split instantiation of the variable-length kernel. From d = 128 on, 8
    warps keep Q in registers where shared memory is short.
    """
    d, local = case.head_dim, case.local
    if d <= 64:
        return _sm8x(80 if varlen_split else 96 if local else 112, 4, d)
    if d <= 96:
        return _sm8x(48 if varlen_split or local else 64, 4, d)
    if d <= 128:
        if sm80 and not varlen_split:
            return _sm8x(48 if local else 64, 4, d)
        n = 96 if local else 112 if varlen_split else 128
        return _sm8x(n, 8, d, q_in_registers=True)
    if d <= 192:
        if local or varlen_split or case.paged_gather:
            return _sm8x(64, 8, d, stages=2 if sm80 else 1)
        return _sm8x(96, 8, d, stages=2 if sm80 else 1, q_in_registers=True)
    if sm80:
        return _sm8x(64 if varlen_split or local else 96, 8, d)
    return _sm8x(48 if varlen_split or local else 64, 8, d, q_in_registers=True)


def _sm8x(
    block_n: int, num_warps: int, head_dim: int, *, stages: int = 1, q_in_registers: bool = False
) -> Tile:
    return Tile(
        block_m=128,
        block_n=block_n,
        num_warps=num_warps,
        head_dim=head_dim,
        stages=stages,
        q_in_registers=q_in_registers,
    )
