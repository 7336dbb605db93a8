"""What is measured on a GPU, in order: each shape with its prediction, and what is left out."""

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from typing import Literal

from gpusim.errors import SpecError
from gpusim.schedules.implementations import IMPLEMENTATIONS
from gpusim.spec.attention import Attention
from gpusim.spec.gpu import Gpu
from gpusim.study.measured import MeasuredRow
from gpusim.study.simulate import simulate
from gpusim.units import GB
from validation.measuring import shapes

L2 = Literal["warm", "cold"]

#: A call predicted to take longer is left out.
LONGEST_MS = 200.0
#: Share of the GPU's memory that may be asked for, and what everything else takes there: the CUDA
#: contexts of seven processes, with half a GB each.
USABLE, RESERVED_BYTES = 0.9, 4 * GB
#: A quick run takes so many shapes of a kernel.
QUICK_SHAPES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A kernel and a problem.

    Attributes:
        kernel: by the name of measured rows.
        options: that its wrapper is launched with.
        predicted_us: by the analytic engine.
        launches: of a call.
    """

    kernel: str
    phase: shapes.Phase
    attention: Attention
    options: Mapping[str, int]
    predicted_us: float
    launches: int

    @property
    def checked_as(self) -> tuple[str, str, int, int, bool, bool]:
        """All outputs are checked once for each of these: another one is compiled anew."""
        attention = self.attention
        masks = attention.causal, attention.window is not None
        return (self.kernel, self.phase, attention.head_dim, attention.group_size, *masks)

    def __str__(self) -> str:
        """In words, without the kernel."""
        attention, lengths = self.attention, self.attention.sequences[0]
        return (
            f"{self.phase}, {lengths.count} x {lengths.q_len} queries on {lengths.kv_len} keys, "
            f"{attention.q_heads}/{attention.kv_heads} heads of {attention.head_dim}"
        )

    def row(self, gpu: Gpu, l2: L2, *, measured_us: float = 1.0, source: str = "") -> MeasuredRow:
        """The row of a measurement."""
        return MeasuredRow(
            gpu=gpu.name,
            kernel=self.kernel,
            phase=self.phase,
            l2=l2,
            measured_us=measured_us,
            source=source,
            attention=self.attention,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cases:
    """Those to measure, in order; and how many are not, by kernel and reason."""

    cases: list[Case]
    left_out: Counter[tuple[str, str]] = field(default_factory=Counter)

    def shortened(self) -> "Cases":
        """The first QUICK_SHAPES of each kernel."""
        taken: Counter[str] = Counter()
        first = []
        for case in self.cases:
            taken[case.kernel] += 1
            if taken[case.kernel] <= QUICK_SHAPES:
                first.append(case)
        return Cases(cases=first, left_out=self.left_out)

    def without(self, done: Sequence[MeasuredRow], gpu: Gpu, l2: L2) -> "Cases":
        """Those that no row has measured yet, in an order that leads to no dead end again.

        A kernel without a row, where others have some, failed at its first shape: it comes after
        the others. A kernel with rows may have failed at its next shape: the rest of its shapes is
        shuffled by the number of its rows.
        """
        known = {identity(row) for row in done}
        rows = Counter(row.kernel for row in done)
        left: dict[str, list[Case]] = {case.kernel: [] for case in self.cases}
        there: Counter[tuple[str, str]] = Counter()
        for case in self.cases:
            if identity(case.row(gpu, l2)) in known:
                there[case.kernel, "measured before"] += 1
            else:
                left[case.kernel].append(case)
        for kernel in rows.keys() & left.keys():
            random.Random(rows[kernel]).shuffle(left[kernel])
        tried = _taking_turns([cases for kernel, cases in left.items() if rows[kernel]])
        untried = _taking_turns([cases for kernel, cases in left.items() if not rows[kernel]])
        return Cases(cases=[*tried, *untried], left_out=self.left_out + there)


def identity(row: MeasuredRow) -> tuple[object, ...]:
    """What tells a row from all others: everything but the time and its source."""
    values = row.as_row()
    return tuple(values[name] for name in values if name not in ("measured_us", "source"))


def find_cases(gpu: Gpu, kernels: Sequence[str], l2: L2) -> Cases:
    """The shapes of kernels on a GPU.

    The kernels take turns, each with its shapes in one random order that is always the same: a run
    that ends early has measured a bit of everything.
    """
    left_out: Counter[tuple[str, str]] = Counter()
    by_kernel = []
    for kernel in kernels:
        fitting = []
        for phase, attention in shapes.shapes_of(kernel):
            found = _case(gpu, kernel, phase, attention, l2)
            if isinstance(found, Case):
                fitting.append(found)
            else:
                left_out[kernel, found] += 1
        random.Random(0).shuffle(fitting)
        by_kernel.append(fitting)
    return Cases(cases=list(_taking_turns(by_kernel)), left_out=left_out)


def _taking_turns(lists: Sequence[Sequence[Case]]) -> Iterator[Case]:
    return (case for case in chain.from_iterable(zip_longest(*lists)) if case is not None)


def _case(gpu: Gpu, kernel: str, phase: shapes.Phase, attention: Attention, l2: L2) -> Case | str:
    """The case, or why it is left out."""
    try:
        result = simulate(attention, gpu, kernel, "analytic", l2=l2, load="benchmark")
    except SpecError as error:
        return str(error).removeprefix(f"schedule {kernel}: ")
    # Random numbers are made in fp32: K twice as wide beside K and V takes as much as both again.
    if 2 * result.footprint_bytes + RESERVED_BYTES > USABLE * gpu.hbm.capacity_gb * GB:
        return f"would not fit in {gpu.hbm.capacity_gb:g} GB"
    if result.time_us > LONGEST_MS * 1e3:
        return f"predicted to take more than {LONGEST_MS:g} ms a call"
    return Case(
        kernel=kernel,
        phase=phase,
        attention=attention,
        options=options_of(kernel, attention, gpu),
        predicted_us=result.time_us,
        launches=len(result.launches),
    )


def options_of(kernel: str, attention: Attention, gpu: Gpu) -> Mapping[str, int]:
    """What a kernel's wrapper is launched with; the model assumes the same."""
    options = IMPLEMENTATIONS[kernel].options
    if options is None:
        raise ValueError(f"{kernel}: expected one of the project's own kernels")
    return options(attention, gpu)
