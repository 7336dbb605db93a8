"""How many CTAs of a kernel fit on one SM: NVIDIA's rule, exactly."""

from dataclasses import dataclass, replace
from functools import lru_cache

from gpusim.spec.gpu import Gpu, Sm
from gpusim.units import ceil_div, round_up


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupancy:
    """CTAs per SM, what limits them, and how far each resource would go.

    Attributes:
        ctas_per_sm: resident CTAs; 0 if not even one fits.
        warps_per_sm: resident warps.
        fraction: resident warps over the SM's maximum.
        limiter: the resource that runs out first ('warps', 'registers', 'shared_memory', 'ctas').
        limits: CTAs that each resource alone would allow.
        next_registers: most registers per thread at which one more CTA fits (0: never).
        next_smem_bytes: most shared memory per CTA at which one more CTA fits (-1: never).
    """

    ctas_per_sm: int
    warps_per_sm: int
    fraction: float
    limiter: str
    limits: dict[str, int]
    next_registers: int
    next_smem_bytes: int


def occupancy(gpu: Gpu, *, threads: int, registers: int, smem_bytes: int = 0) -> Occupancy:
    """Return the occupancy of a kernel on a GPU.

    The rule of NVIDIA's `cuda_occupancy.h` (CUDA 13.0): registers are given to each warp in units
    and live in one of the SM's sub-partitions; shared memory is rounded up with the CTA's reserve;
    the carve-out is the largest.

    Args:
        threads: per CTA.
        registers: per thread.
        smem_bytes: static plus dynamic, per CTA.

    Raises:
        ValueError: if threads, registers or smem_bytes are outside what a CTA may ask for.
    """
    found = _occupancy(gpu.sm, threads, registers, smem_bytes)
    return replace(found, limits=dict(found.limits))  # the kept one stays as it is


@lru_cache(maxsize=4096)
def _occupancy(sm: Sm, threads: int, registers: int, smem_bytes: int) -> Occupancy:
    if not 1 <= threads <= sm.max_threads_per_cta:
        raise ValueError(f"threads: expected 1 to {sm.max_threads_per_cta}, found {threads}")
    if not 0 <= registers <= sm.max_registers_per_thread:
        raise ValueError(
            f"registers: expected 0 to {sm.max_registers_per_thread}, found {registers}"
        )
    if smem_bytes < 0:
        raise ValueError(f"smem_bytes: expected 0 or more, found {smem_bytes}")
    warps, most_warps = _warps(threads), sm.max_threads // 32
    limits = {
        "warps": most_warps // warps,
        "registers": register_limit(sm, threads, registers),
        "shared_memory": smem_limit(sm, smem_bytes),
        "ctas": sm.max_ctas,
    }
    limiter = min(limits, key=lambda name: limits[name])
    ctas = limits[limiter]
    goal = ctas + 1
    possible = min(limits["warps"], limits["ctas"]) >= goal
    return Occupancy(
        ctas_per_sm=ctas,
        warps_per_sm=ctas * warps,
        fraction=ctas * warps / most_warps,
        limiter=limiter,
        limits=limits,
        next_registers=_most_registers(sm, threads, goal) if possible else 0,
        next_smem_bytes=_most_smem(sm, goal) if possible else -1,
    )


def slots_of(gpu: Gpu, *, threads: int, registers: int, smem_bytes: int) -> int:
    """CTAs that the whole GPU holds at once, for kernels that size their grid by it.

    At least one an SM: a CTA that does not fit is refused when its launch is placed.
    """
    fit = _occupancy(gpu.sm, threads, registers, smem_bytes)
    return gpu.sm.count * max(1, fit.ctas_per_sm)


def _warps(threads: int) -> int:
    return ceil_div(threads, 32)


def register_limit(sm: Sm, threads: int, registers: int) -> int:
    """CTAs that the register file allows; each sub-partition holds whole warps only."""
    warps = _warps(threads)
    per_warp = round_up(registers * 32, sm.register_unit)
    if per_warp == 0:
        return sm.max_threads // 32  # a kernel that uses none is never limited by them
    whole_rounds = round_up(warps, sm.sub_partitions)
    if per_warp * whole_rounds > sm.registers:
        return 0
    warps_per_partition = sm.registers // sm.sub_partitions // per_warp
    return sm.sub_partitions * warps_per_partition // warps


def smem_limit(sm: Sm, smem_bytes: int) -> int:
    """CTAs that shared memory allows."""
    if smem_bytes > sm.max_smem_per_cta_bytes:
        return 0
    unit = sm.smem_unit_bytes
    per_cta = round_up(smem_bytes + sm.reserved_smem_per_cta_bytes, unit)
    return sm.smem_bytes // per_cta if per_cta else sm.max_ctas


@lru_cache(maxsize=1024)
def _most_registers(sm: Sm, threads: int, ctas: int) -> int:
    """Registers are given to warps in units, so that only the most of each unit is asked for."""
    most, unit = sm.max_registers_per_thread, max(1, sm.register_unit // 32)
    choices = (most, *range(most // unit * unit, 0, -unit))
    return next((r for r in choices if register_limit(sm, threads, r) >= ctas), 0)


def _most_smem(sm: Sm, ctas: int) -> int:
    unit = sm.smem_unit_bytes
    share = sm.smem_bytes // ctas // unit * unit - sm.reserved_smem_per_cta_bytes
    return min(share, sm.max_smem_per_cta_bytes) if share >= 0 else -1
