"""Counts what kernels do in Triton's interpreter: matrix FLOP, and bytes by tensor.

The interpreter runs a kernel on CPU tensors, one program after another, if `TRITON_INTERPRET=1` is
set before Triton is imported. Its builder sees every load, store, atomic and product. It is no
documented interface, but the same in Triton 3.6 and 3.9.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from triton.runtime.interpreter import GridExecutor, InterpreterBuilder

from validation.kernels.cost import Cost

SECTOR_BYTES = 32  # granule of L2 requests on every NVIDIA GPU since Volta (CUDA Programming Guide)


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedLaunch:
    """One launch.

    Attributes:
        name: of the kernel.
        cost: FLOP, and bytes that lanes ask for, by the kernel's parameter.
        sectors: the same in 32-byte sectors, each once per load or store of a program.
        tensors: first address, end and element size of each parameter; size 0 for integers.
    """

    name: str
    cost: Cost = field(default_factory=Cost)
    sectors: Cost = field(default_factory=Cost)
    tensors: dict[str, tuple[int, int, int]]

    def count(self, written: bool, addresses: NDArray[Any], mask: NDArray[Any]) -> None:
        """Book an access; integers (lengths, flags) are not counted.

        Raises:
            IndexError: for an address outside of the tensors.
        """
        asked = np.broadcast_to(addresses, np.broadcast_shapes(addresses.shape, mask.shape))
        asked = asked[np.broadcast_to(mask, asked.shape)]
        if not asked.size:
            return
        for name, (start, end, size) in self.tensors.items():
            own = asked[(asked >= start) & (asked < end)]
            if own.size == asked.size:
                if not size:
                    return
                lanes, sectors = (
                    c.writes if written else c.reads for c in (self.cost, self.sectors)
                )
                lanes[name] += own.size * size
                sectors[name] += np.unique(own // SECTOR_BYTES).size * SECTOR_BYTES
                return
        raise IndexError(f"{self.name}: an access outside of {', '.join(self.tensors)}")


@contextmanager
def counted() -> Iterator[list[CountedLaunch]]:
    """Launches inside are counted, in order."""
    launches: list[CountedLaunch] = []
    with ExitStack() as stack:
        stack.enter_context(_patched(GridExecutor, "__call__", _starting(launches)))
        for name, wrapper in {
            "create_masked_load": _access(launches, mask=1, written=False),
            "create_masked_store": _access(launches, mask=2, written=True),
            "create_atomic_rmw": _access(launches, address=1, mask=3, written=True),
            "create_dot": _dot(launches),
        }.items():
            stack.enter_context(_patched(InterpreterBuilder, name, wrapper))
        yield launches


Wrapper = Callable[..., None]


def _patched(owner: type, name: str, before: Wrapper) -> Any:
    """The method of a class, with `before` called on its arguments first."""
    method = getattr(owner, name)

    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        before(self, *args, **kwargs)
        return method(self, *args, **kwargs)

    return patch.object(owner, name, wrapped)


def _starting(launches: list[CountedLaunch]) -> Wrapper:
    def before(executor: Any, *args: Any, **kwargs: Any) -> None:
        named = dict(zip(executor.arg_names, args, strict=False)) | kwargs
        tensors = {
            name: (
                x.data_ptr(),
                x.data_ptr() + x.numel() * x.element_size(),
                x.element_size() * x.is_floating_point(),
            )
            for name, x in named.items()
            if isinstance(x, torch.Tensor)
        }
        launches.append(CountedLaunch(name=executor.fn.__name__, tensors=tensors))

    return before


def _access(
    launches: list[CountedLaunch], *, mask: int, written: bool, address: int = 0
) -> Wrapper:
    def before(_: Any, *args: Any, **__: Any) -> None:
        launches[-1].count(written, args[address].data, np.asarray(args[mask].data))

    return before


def _dot(launches: list[CountedLaunch]) -> Wrapper:
    def before(_: Any, a: Any, b: Any, *__: Any, **___: Any) -> None:
        rows, depth = a.data.shape
        launch = launches[-1]
        flop = launch.cost.flop + 2 * rows * depth * b.data.shape[-1]
        launches[-1] = replace(launch, cost=replace(launch.cost, flop=flop))

    return before
