"""Ordinary launches, compiled for a GPU that is not there: nothing runs, all is recorded.

Triton compiles what it sees of the arguments into a kernel: pointers and integers that 16 divides,
integers that are 1. The problem of a launch should therefore look like those that are measured.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.backends.driver import DriverBase
from triton.runtime.jit import JITFunction

#: Compute capabilities by the name of the architecture.
TARGETS = {"sm_80": 80, "sm_89": 89, "sm_90": 90}


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """A launch that was compiled.

    Attributes:
        name: of the kernel.
        grid: CTAs along each axis.
        constants: the constexpr arguments by name.
        options: what the launch asks of the compiler (`num_warps`, `num_stages`).
        binary: Triton's compiled kernel, with its `asm` and its `metadata`.
    """

    name: str
    grid: tuple[int, ...]
    constants: Mapping[str, Any]
    options: Mapping[str, Any]
    binary: Any


class OfflineDriver(DriverBase):  # type: ignore[misc]
    """A driver that names a target and has no device."""

    def __init__(self, target: GPUTarget) -> None:
        self._target = target

    @classmethod
    def is_active(cls) -> bool:
        """Never found, only set."""
        return False

    def get_current_target(self) -> GPUTarget:
        """What to compile for."""
        return self._target

    def get_current_device(self) -> int:
        """Key of a kernel's own cache: each target has another one, and no GPU a negative one."""
        return -int(self._target.arch)

    def get_current_stream(self, _device: int) -> int:
        """The default stream."""
        return 0

    def get_active_torch_device(self) -> torch.device:
        """Where the tensors are."""
        return torch.device("cpu")

    def map_python_to_cpp_type(self, ty: str) -> str:
        """Only a launcher needs it."""
        raise NotImplementedError(ty)

    def get_benchmarker(self) -> Callable[..., Any]:
        """Nothing runs."""
        raise NotImplementedError


@contextmanager
def compiled(arch: str) -> Iterator[list[Compiled]]:
    """Within it, `kernel[grid](...)` of Triton and Gluon kernels compiles for `arch` and is listed.

    Multiplications and additions fuse to FFMA whatever the default of the Triton version is.

    Raises:
        RuntimeError: under TRITON_INTERPRET, where there is nothing to compile.
        KeyError: for an architecture that is not in `TARGETS`.
    """
    if triton.knobs.runtime.interpret:
        raise RuntimeError("TRITON_INTERPRET: expected unset to compile, found set")
    target = GPUTarget("cuda", TARGETS[arch], 32)
    launches: list[Compiled] = []
    run = JITFunction.run

    def record(kernel: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Any:
        kwargs = {"enable_fp_fusion": True} | kwargs
        binary = run(kernel, *args, grid=grid, warmup=True, **kwargs)
        if not warmup:
            launches.append(_launch(kernel, binary, args, grid, kwargs))
        return binary

    active = triton.runtime.driver._active  # `active` itself fails where there is no GPU
    triton.runtime.driver.set_active(OfflineDriver(target))
    JITFunction.run = record
    try:
        yield launches
    finally:
        JITFunction.run = run
        triton.runtime.driver.set_active(active)


def _launch(
    kernel: Any, binary: Any, args: tuple[Any, ...], grid: Any, kwargs: dict[str, Any]
) -> Compiled:
    names = kernel.signature.parameters
    bound = kernel.signature.bind(*args, **{k: v for k, v in kwargs.items() if k in names})
    bound.apply_defaults()
    axes = grid(bound.arguments) if callable(grid) else grid
    return Compiled(
        name=kernel.fn.__name__,
        grid=tuple(axes),
        constants={p.name: bound.arguments[p.name] for p in kernel.params if p.is_constexpr},
        options={k: v for k, v in kwargs.items() if k not in names},
        binary=binary,
    )
