"""The schedules by name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gpusim.errors import SpecError, excerpt, nearest, plain
from gpusim.schedules.custom import custom
from gpusim.schedules.flash1 import flash1
from gpusim.schedules.flash2 import flash2
from gpusim.schedules.flash3 import flash3, flash3_fp8, quantised
from gpusim.schedules.implementations import IMPLEMENTATIONS
from gpusim.schedules.launch import Launch
from gpusim.schedules.lean import lean
from gpusim.schedules.santa_flash import santa_flash
from gpusim.schedules.santa_prop import santa_prop
from gpusim.schedules.split_kv import flash2_split_kv
from gpusim.schedules.standard import standard
from gpusim.schedules.tiling import Tiling, tiling_for
from gpusim.spec.attention import Attention
from gpusim.spec.gpu import Gpu
from gpusim.spec.kernel import Kernel
from gpusim.spec.validate import validate

TILE_OPTIONS = frozenset({"block_m", "block_n", "num_warps", "stages", "registers"})
SAMPLING_OPTIONS = frozenset({"samples", "logit_sigma"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A schedule: how it builds launches, and which options it takes.

    `exact` is whether the result is attention; a sampled one reads less than all of V. `problem` is
    the problem as the schedule takes it: an FP8 schedule sees FP8 tensors.
    """

    build: Callable[[Attention, Gpu, Tiling], tuple[Launch, ...]]
    options: frozenset[str]
    exact: bool = True
    problem: Callable[[Attention], Attention] = lambda attention: attention


SCHEDULES = {
    "standard": Schedule(build=standard, options=TILE_OPTIONS),
    "flash1": Schedule(build=flash1, options=frozenset({"num_splits", "registers", "algorithm"})),
    "flash2": Schedule(build=flash2, options=TILE_OPTIONS),
    "flash2_split_kv": Schedule(build=flash2_split_kv, options=TILE_OPTIONS | {"num_splits"}),
    "flash3": Schedule(build=flash3, options=TILE_OPTIONS | {"num_splits"}),
    "flash3_fp8": Schedule(
        build=flash3_fp8, options=TILE_OPTIONS | {"num_splits"}, problem=quantised
    ),
    "lean": Schedule(build=lean, options=TILE_OPTIONS | {"fixed_maximum"}),
    "santa_flash": Schedule(build=santa_flash, options=SAMPLING_OPTIONS, exact=False),
    "santa_prop": Schedule(build=santa_prop, options=SAMPLING_OPTIONS, exact=False),
}


def check_choice(name: str, options: dict[str, Any], where: str = "schedule") -> Tiling | Kernel:
    """The options of a schedule, or a kernel of the user's own; `where` is the path of mistakes.

    Raises:
        SpecError: for an unknown schedule or option, or a bad value.
    """
    if "kernel" in options:
        return _own_kernel(name, options, where)
    if name in IMPLEMENTATIONS:
        return tiling_for(options, frozenset(), where)
    if name not in SCHEDULES:
        known = (*SCHEDULES, *IMPLEMENTATIONS)
        hint = nearest(name, known) or f"; known: {', '.join(known)}"
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
    try:
        if isinstance(tiling, Kernel):
            return custom(name, attention, gpu, tiling)
        attention = problem_of(name, attention)
        if name in IMPLEMENTATIONS:
            return IMPLEMENTATIONS[name].build(attention, gpu)
        return SCHEDULES[name].build(attention, gpu, tiling)
    except SpecError as error:
        raise SpecError(f"schedule {name}: {error}") from error


def is_exact(name: str) -> bool:
    """Whether a schedule attends to all values; kernels of other names do."""
    known = SCHEDULES.get(name) or IMPLEMENTATIONS.get(name)
    return known is None or known.exact


def problem_of(name: str, attention: Attention) -> Attention:
    """The problem as a schedule takes it."""
    known = SCHEDULES.get(name) or IMPLEMENTATIONS.get(name)
    return known.problem(attention) if known else attention


def _own_kernel(name: str, options: dict[str, Any], where: str) -> Kernel:
    if name in SCHEDULES or name in IMPLEMENTATIONS:
        raise SpecError(f"{where}.name: expected a name of its own for a kernel, found {name!r}")
    for option in options:
        if option != "kernel":
            raise SpecError(f"{where}.{plain(option)}: expected only name and kernel")
    return validate(Kernel, options["kernel"], f"{where}.kernel", join=".")


def _check_types(attention: Attention, gpu: Gpu) -> None:
    known = gpu.tensor.mma_sync_flop_per_clock.keys() | gpu.tensor.wgmma_flop_per_clock.keys()
    for field, dtype in (("dtype", attention.dtype), ("kv_dtype", attention.cache_dtype)):
        if dtype not in known:
            have = ", ".join(sorted(known & {"fp16", "bf16", "fp8"}))
            raise SpecError(
                f"attention.{field}: expected a type that {gpu.name} has ({have}), found {dtype}"
            )
