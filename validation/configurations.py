"""What `validation.compile_kernels` compiles: the project's kernels with the tiles worth knowing.

Triton compiles in what it can tell of small integers, so problems here are grouped and batched like
real ones: no head count, batch or group is 1. To add a kernel, add a `Family`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

from gpusim.schedules import triton_options as own
from gpusim.spec.attention import Attention
from gpusim.spec.attention import Sequence as Lengths
from validation.kernels.flash1 import flash1
from validation.kernels.flash2 import flash2
from validation.kernels.flash3 import flash3
from validation.kernels.lean import lean
from validation.kernels.problem import random_problem
from validation.kernels.santa_flash import santa_flash
from validation.kernels.santa_prop import santa_prop
from validation.kernels.split_kv import split_kv
from validation.offline import TARGETS

PREFILL = (Lengths(count=2, q_len=256, kv_len=512),)
DECODE = (Lengths(count=2, q_len=1, kv_len=512),)
#: SANTA compiles the number of tiles in, rounded up to a power of two.
LONG_DECODE = (Lengths(count=2, q_len=1, kv_len=8192),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Configurations of one wrapper: every tiling with every head size, mask and architecture.

    Attributes:
        tilings: keyword arguments of the wrapper.
        consumers: groups of `num_warps` warps that each run a main loop of their own.
    """

    schedule: str
    wrapper: Callable[..., object]
    tilings: Sequence[Mapping[str, int]]
    sequences: tuple[Lengths, ...] = PREFILL
    causal: Sequence[bool] = (False, True)
    head_dims: Sequence[int] = (64, 128)
    archs: Sequence[str] = tuple(TARGETS)
    consumers: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What is compiled: `launch` calls a wrapper, which may launch several kernels."""

    schedule: str
    arch: str
    attention: Attention
    options: Mapping[str, int]
    launch: Callable[[], object]
    consumers: int = 1


def tiling(block_m: int, block_n: int, num_warps: int, stages: int, **more: int) -> dict[str, int]:
    """Keyword arguments that most wrappers take."""
    names = {"block_m": block_m, "block_n": block_n, "num_warps": num_warps, "stages": stages}
    return names | more


FAMILIES = (
    Family(schedule="flash1", wrapper=flash1, tilings=[own.FLASH1 | {"num_splits": 2}]),
    Family(
        schedule="flash2",
        wrapper=flash2,
        tilings=[own.FLASH2, tiling(64, 64, 4, 2), tiling(128, 128, 8, 2)],
    ),
    Family(
        schedule="flash2_split_kv",
        wrapper=split_kv,
        tilings=[
            own.SPLIT_KV | {"num_splits": 2, "combine_rows": 4},
            tiling(16, 64, 4, 2, num_splits=2, combine_rows=8),
        ],
        sequences=DECODE,
    ),
    Family(
        schedule="flash3",
        wrapper=flash3,
        tilings=[own.FLASH3],
        archs=("sm_90",),
        consumers=2,
    ),
    Family(schedule="lean", wrapper=lean, tilings=[own.LEAN | {"workers": 8}], sequences=DECODE),
    Family(
        schedule="santa_flash",
        wrapper=santa_flash,
        tilings=[
            {"block_n": n, "num_warps": warps, "budget": 16, "seed": 0}
            for n, warps in ((32, 4), (64, 4), (256, 8))
        ],
        sequences=LONG_DECODE,
        causal=(False,),
    ),
    Family(
        schedule="santa_prop",
        wrapper=santa_prop,
        tilings=[{"samples": 128, "num_warps": 8, "seed": 0}],
        sequences=LONG_DECODE,
        causal=(False,),
    ),
)


def configurations(families: Sequence[Family] = FAMILIES) -> Iterator[Configuration]:
    """Everything that is compiled."""
    for family in families:
        for arch, head_dim, causal, options in product(
            family.archs, family.head_dims, family.causal, family.tilings
        ):
            attention = Attention(
                q_heads=32,
                kv_heads=8,
                head_dim=head_dim,
                dtype="fp16",
                causal=causal,
                sequences=family.sequences,
            )
            yield Configuration(
                schedule=family.schedule,
                arch=arch,
                attention=attention,
                options=options,
                launch=partial(_launch, family.wrapper, attention, options),
                consumers=family.consumers,
            )


def _launch(
    wrapper: Callable[..., object], attention: Attention, options: Mapping[str, int]
) -> object:
    return wrapper(random_problem(attention), **options)
