"""A model of Gluon on Hopper, in torch on the CPU: runs a warp-specialised kernel's own source.

Modelled: mbarriers by their phases, arrivals and bytes; shared memory, NaN until it is written; TMA
loads, which spoil their destination at once and fill it later, in any order; a warpgroup's products
in flight, whose operands must stand in shared memory from issue to wait, or, in registers, be named
by that wait; rounding to 16 bits. Warps and loads take turns, in an order drawn from a seed: a run
repeats exactly. What would hang a GPU, or let its results depend on time, raises `Fault`.

Not modelled: layouts and swizzles, proxies and their fences, time, the size of anything, several
CTAs at once, the end of a CTA before its last load, and what the compiler makes of the source.
"""

from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

NEEDS = "needs the extra 'triton': pip install 'gpusim[triton]'"
pytest.importorskip("torch", reason=NEEDS)

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

#: Chance, at each step of a CTA, of a new order of precedence among its warps and its loads.
NEW_ORDER = 1 / 16


class Fault(Exception):
    """A deadlock, a race, or a result that is used before it is there."""


@dataclass
class Barrier:
    """Completes a phase when all arrivals and all expected bytes have come (PTX: mbarrier)."""

    count: int = 0
    phase: int = 0
    arrived: int = 0
    bytes: int = 0

    def come(self, *, arrivals: int = 0, bytes_: int = 0) -> None:
        """Arrivals; and bytes, above zero as they are expected, below as they have come."""
        self.arrived, self.bytes = self.arrived + arrivals, self.bytes + bytes_
        if self.arrived > self.count:
            raise Fault(f"too many arrivals: {self}")
        if (self.arrived, self.bytes) == (self.count, 0):
            self.phase, self.arrived = self.phase + 1, 0


class SharedMemory(Tensor):
    """Shared memory that holds tiles; methods are those of Gluon."""

    def index(self, i: int) -> Tensor:  # type: ignore[override]
        return self[i]

    def load(self, _layout: None) -> Tensor:
        return self.as_subclass(Tensor).clone()

    def store(self, values: Tensor) -> None:
        self.copy_(values.as_subclass(Tensor))


class Registers(Tensor):
    """The result of a product."""

    type = SimpleNamespace(layout=None)  # type: ignore[assignment]


@dataclass(frozen=True)
class Pointer:
    """Elements of a tensor in global memory."""

    name: str
    values: Tensor
    offsets: Any = 0

    def __add__(self, offsets: Any) -> "Pointer":
        return Pointer(self.name, self.values, self.offsets + offsets)


class Descriptor:
    """TMA's view of a matrix: boxes, with zeros past the last row."""

    def __init__(self, matrix: Tensor, box: list[int], layout: None) -> None:
        self.name, self.matrix, self.layout, self.dtype = "", matrix, layout, matrix.dtype
        nbytes = box[0] * box[1] * matrix.element_size()
        self.block_type = SimpleNamespace(shape=box, nbytes=nbytes)


@dataclass(eq=False)
class Product:
    """A product in flight: its operands, as they are and as they were, and its result."""

    operands: tuple[Tensor, ...]
    copies: tuple[Tensor, ...]
    result: Tensor

    def finish(self, deps: Sequence[object]) -> None:
        """Ends at a wait that names `deps`."""
        for operand, copy in zip(self.operands, self.copies, strict=True):
            if isinstance(operand, SharedMemory):
                if not torch.equal(operand, copy):
                    raise Fault("an operand did not stand in shared memory from issue to wait")
            elif not any(operand is x for x in deps):
                raise Fault("an operand in registers is not named by the wait")


#: What is left to do; a step ends at a wait for a phase of some parity, or, with None, at any time.
Steps = Generator[tuple[Barrier, int] | None, None, Any]


@dataclass(eq=False)
class Warps:
    """Warps in step; `products` are in flight."""

    name: str
    steps: Steps
    waits_for: tuple[Barrier, int] | None = None
    products: list[Product] = field(default_factory=list)

    def ready(self) -> bool:
        """Whether the phase before the present one has the parity; phase -1 has completed."""
        return self.waits_for is None or self.waits_for[0].phase % 2 != self.waits_for[1]


#: Functions of registers, types and layouts, by Gluon's names.
WORDS: dict[str, Any] = {
    **{name: getattr(torch, name) for name in ("int64", "float32", "float16", "bfloat16")},
    **{name: getattr(torch, name) for name in ("exp2", "log2", "where", "sum", "zeros_like")},
    **dict.fromkeys(("SliceLayout", "NVMMADistributedLayout", "DotOperandLayout"), lambda *_: None),
    **dict.fromkeys(("BlockedLayout", "MBarrierLayout", "fence_async_shared"), lambda *_: None),
    **dict.fromkeys(("constexpr", "convert_layout"), lambda x, *_: x),
    "NVMMASharedLayout": SimpleNamespace(get_default_for=lambda *_: None),
    "TensorDescriptor": SimpleNamespace(from_tensor=Descriptor),
    "arange": lambda start, stop, _: torch.arange(start, stop, dtype=torch.int32),
    "cdiv": lambda x, y: -(-x // y),
    "fma": lambda x, y, z: x * y + z,
    "full": lambda shape, value, dtype, _: torch.full(shape, value, dtype=dtype),
    "load": lambda at: at.values[at.offsets],
    "max": torch.amax,
    "maximum": lambda x, y: torch.maximum(torch.as_tensor(x), torch.as_tensor(y)),
    "minimum": lambda x, y: torch.minimum(torch.as_tensor(x), torch.as_tensor(y)),
    "static_range": range,
    "zeros": lambda shape, dtype, _: torch.zeros(shape, dtype=dtype),
}


class Gluon:
    """Gluon's language in a CTA; counts matrix FLOP, and bytes by the kernel's parameter.

    Operations that other warps could notice are generators: warps may lose their turn before one.
    """

    def __init__(self, seed: int) -> None:
        vars(self).update(WORDS)
        self.mbarrier = self.tma = self
        self.random = Random(seed)
        self.program_id = (0, 0, 0).__getitem__
        self.flop, self.reads, self.writes = 0, Counter[str](), Counter[str]()
        self.loads: list[Callable[[], None]] = []
        self.products: list[Product] = []  # of the warps in turn

    def store(self, to: Pointer, values: Tensor, mask: Tensor) -> None:
        mask = mask.expand_as(values)
        at = to.offsets[mask]
        if not to.values[at].isnan().all():
            raise Fault(f"{to.name}: an element is stored twice")
        to.values[at] = values[mask].to(to.values.dtype)
        self.writes[to.name] += len(at) * to.values.element_size()

    def allocate_shared_memory(self, dtype: torch.dtype, shape: list[int], _layout: None) -> Any:
        if dtype == torch.int64:
            return SimpleNamespace(index=[Barrier() for _ in range(shape[0])].__getitem__)
        return torch.full(shape, torch.nan, dtype=dtype).as_subclass(SharedMemory)

    def init(self, barrier: Barrier, count: int) -> None:
        barrier.count = count

    def wait(self, barrier: Barrier, parity: int) -> Steps:
        yield barrier, parity

    def arrive(self, barrier: Barrier, size: int = 0) -> Steps:
        yield None
        barrier.come(arrivals=1, bytes_=size)

    expect = arrive

    def async_load(self, boxes: Descriptor, at: Sequence[int], full: Barrier, to: Tensor) -> Steps:
        yield None
        (row, column), (height, width) = at, boxes.block_type.shape
        real = boxes.matrix[row : row + height, column : column + width]

        def arrive() -> None:
            to.copy_(torch.nn.functional.pad(real, (0, 0, 0, height - len(real))))
            full.come(bytes_=-boxes.block_type.nbytes)

        to.fill_(torch.nan)
        self.loads.append(arrive)
        self.reads[boxes.name] += real.numel() * real.element_size()

    def warpgroup_mma(
        self, a: Tensor, b: Tensor, acc: Tensor, *, use_acc: bool = True, is_async: bool
    ) -> Steps:
        yield None
        assert is_async
        x, y = (operand.as_subclass(Registers).float() for operand in (a, b))
        self.flop += 2 * x.shape[0] * y.numel()
        result = x @ y + acc if use_acc else x @ y
        self.products.append(Product((a, b), (a.clone(), b.clone()), result))
        return self.products[-1]

    def warpgroup_mma_wait(self, pending: int, deps: Sequence[Any]) -> Steps:
        yield None
        while len(self.products) > pending:
            self.products.pop(0).finish(deps)
        if any(x is product for x in deps for product in self.products):
            raise Fault("a product is used before a wait has ended it")
        values = [x.result if isinstance(x, Product) else x for x in deps]
        return values[0] if len(values) == 1 else tuple(values)

    def warp_specialize(self, parts: Sequence[tuple[Any, tuple[Any, ...]]], *_: object) -> None:
        """Runs warps to their end; at each step the first in order that is ready goes on."""
        warps = [Warps(kernel.function.__name__, kernel(*arguments)) for kernel, arguments in parts]
        order = self.random.sample([*warps, None], len(warps) + 1)  # None: a load arrives
        while len(order) > 1:
            if self.random.random() < NEW_ORDER:
                self.random.shuffle(order)
            ready = [x for x in order if (x.ready() if x else self.loads)]
            if not ready:
                raise Fault(f"deadlock: {[(x.name, x.waits_for) for x in order if x]}")
            if ready[0] is None:
                self.loads.pop(self.random.randrange(len(self.loads)))()
            elif self._ends(ready[0]):
                order.remove(ready[0])
        if self.loads:
            raise Fault("a CTA ends with a load in flight")

    def _ends(self, warps: Warps) -> bool:
        self.products = warps.products
        try:
            warps.waits_for = next(warps.steps)
        except StopIteration:
            if self.products:
                raise Fault("warps end with a product in flight") from None
            return True
        return False
