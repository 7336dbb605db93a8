"""A microbenchmark, and what it reads."""

from collections.abc import Callable
from dataclasses import dataclass

from gpusim.spec.gpu import Gpu


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One number read.

    Attributes:
        name: the profile's field that it would replace, else what it is, with its unit.
        value: in the field's unit.
        how: sizes and circumstances of this reading.
    """

    name: str
    value: float
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """What to measure on a GPU like the profile's, in full or quickly.

    Attributes:
        name: for `--only`.
        fields: of the profile that its readings replace.
        plan: sizes in words; needs no GPU.
        measure: the readings; needs a CUDA GPU.
    """

    name: str
    fields: Callable[[Gpu], tuple[str, ...]]
    plan: Callable[[Gpu, bool], str]
    measure: Callable[[Gpu, bool], list[Reading]]
