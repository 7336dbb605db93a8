"""How the project's kernels are called on a problem: what has to be ready before, then the call."""

from collections.abc import Callable, Mapping

import torch

from validation.kernels.flash1 import flash1
from validation.kernels.flash2 import flash2
from validation.kernels.flash3 import flash3
from validation.kernels.lean import lean
from validation.kernels.lean_plan import prepare
from validation.kernels.problem import Problem
from validation.kernels.santa_flash import santa_flash
from validation.kernels.santa_prop import santa_prop
from validation.kernels.split_kv import split_kv
from validation.measuring.shapes import OWN

#: Output, alone or with the log-sum-exp.
Output = torch.Tensor | tuple[torch.Tensor, torch.Tensor]
#: A call may be captured in a CUDA graph: it launches kernels and allocates, and nothing else.
Call = Callable[[], Output]
Options = Mapping[str, int]


def _exact(wrapper: Callable[..., Output]) -> Callable[[Problem, Options, int], Call]:
    return lambda problem, options, _: lambda: wrapper(problem, **options)


def _sampled(wrapper: Callable[..., Output]) -> Callable[[Problem, Options, int], Call]:
    return lambda problem, options, seed: lambda: wrapper(problem, **options, seed=seed)


def _lean(problem: Problem, options: Options, _: int) -> Call:
    tile = {name: options[name] for name in ("block_m", "block_n", "workers")}
    line = prepare(problem, **tile)
    return lambda: lean(problem, line, **options)


CALLS: dict[str, Callable[[Problem, Options, int], Call]] = {
    "flash1": _exact(flash1),
    "flash2": _exact(flash2),
    "flash2_split_kv": _exact(split_kv),
    "flash3": _exact(flash3),
    "lean": _lean,
    "santa_flash": _sampled(santa_flash),
    "santa_prop": _sampled(santa_prop),
}


def call_of(kernel: str, problem: Problem, options: Options, *, seed: int = 0) -> Call:
    """The call of a kernel on a problem; the seed is that of the draws, if it samples."""
    return CALLS[kernel.removeprefix(OWN)](problem, options, seed)


def output_of(found: Output) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Output, and log-sum-exp where the kernel gives it."""
    return found if isinstance(found, tuple) else (found, None)
