"""The schedules by name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gpusim.errors import SpecError, excerpt, nearest
from gpusim.schedules.flash2 import flash2
from gpusim.schedules.launch import Launch
from gpusim.schedules.split_kv import flash2_split_kv
from gpusim.schedules.standard import standard
from gpusim.schedules.tiling import Tiling, tiling_for
from gpusim.spec.attention import Attention
from gpusim.spec.gpu import Gpu

TILE_OPTIONS = frozenset({"block_m", "block_n", "num_warps", "stages", "registers"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A schedule: how it builds launches, and which options it takes."""

    build: Callable[[Attention, Gpu, Tiling], tuple[Launch, ...]]
    options: frozenset[str]


SCHEDULES = {
    "standard": Schedule(build=standard, options=TILE_OPTIONS),
    "flash2": Schedule(build=flash2, options=TILE_OPTIONS),
    "flash2_split_kv": Schedule(build=flash2_split_kv, options=TILE_OPTIONS | {"num_splits"}),
}


def check_choice(name: str, options: dict[str, Any], where: str = "schedule") -> Tiling:
    """The options of a schedule; `where` is the path that a mistake is reported at.

    Raises:
        SpecError: for an unknown schedule or option, or a bad value.
    """
    if name not in SCHEDULES:
        hint = nearest(name, SCHEDULES) or f"; known: {', '.join(SCHEDULES)}"
        raise SpecError(f"{where}: expected a schedule, found {excerpt(name)}{hint}")
    return tiling_for(options, SCHEDULES[name].options, where)


def build_launches(
    name: str, attention: Attention, gpu: Gpu, options: dict[str, Any]
) -> tuple[Launch, ...]:
    """The launches that a schedule makes of a problem on a GPU.

    Raises:
        SpecError: for an unknown schedule or option, or a problem that it cannot take.
    """
    tiling = check_choice(name, options)
    _check_types(attention, gpu)
    return SCHEDULES[name].build(attention, gpu, tiling)


def _check_types(attention: Attention, gpu: Gpu) -> None:
    known = gpu.tensor.mma_sync_flop_per_clock.keys() | gpu.tensor.wgmma_flop_per_clock.keys()
    for field, dtype in (("dtype", attention.dtype), ("kv_dtype", attention.cache_dtype)):
        if dtype not in known:
            have = ", ".join(sorted(known & {"fp16", "bf16", "fp8"}))
            raise SpecError(
                f"attention.{field}: expected a type that {gpu.name} has ({have}), found {dtype}"
            )
