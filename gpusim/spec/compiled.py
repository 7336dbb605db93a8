"""What Triton made of the project's own kernels: registers and shared memory, from a shipped table.

`validation/compiled/` has one table, of the Triton version in its name; `python -m
validation.compile_kernels` makes it anew. Builds in fp16 and bf16 take the same resources.
"""

import csv
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, TypedDict

from gpusim.errors import SpecError
from gpusim.spec.load import shipped

FOLDER = "validation/compiled"


class Resources(TypedDict):
    """What the occupancy of a kernel depends on: per CTA, and registers per thread."""

    threads: int
    registers: int
    smem_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledKernel:
    """One build: a kernel, a configuration, an architecture.

    Attributes:
        schedule, kernel: which, by the names in `validation/kernels`.
        arch, head_dim, causal, block_m, block_n, num_warps, stages: the configuration; None for
            what the kernel does not have.
        registers, smem_bytes, threads: per thread and CTA.
        spill_bytes: local memory of a thread.
        tensor_flop, exp2, barriers: matrix FLOP, exponentials and barriers of a CTA in one pass of
            the main loop.
    """

    schedule: str
    kernel: str
    arch: str
    head_dim: int
    causal: bool
    block_m: int | None
    block_n: int | None
    num_warps: int
    stages: int
    registers: int
    smem_bytes: int
    threads: int
    spill_bytes: int
    tensor_flop: int
    exp2: int
    barriers: int

    @property
    def resources(self) -> Resources:
        """What occupancy depends on."""
        return Resources(threads=self.threads, registers=self.registers, smem_bytes=self.smem_bytes)


@cache
def compiled_kernels() -> tuple[CompiledKernel, ...]:
    """All rows of the table."""
    (path,) = shipped(FOLDER, ".csv").values()
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(_kernel(row) for row in csv.DictReader(file))


def compiled_kernel(kernel: str, arch: str, **wanted: Any) -> CompiledKernel:
    """The build of a kernel for an architecture whose configuration is as wanted.

    Raises:
        SpecError: if there is none.
    """
    for row in compiled_kernels():
        if (row.kernel, row.arch) == (kernel, arch) and all(
            getattr(row, name) == value for name, value in wanted.items()
        ):
            return row
    asked = ", ".join(f"{name} {value}" for name, value in wanted.items())
    raise SpecError(f"expected a build of {kernel} for {arch} with {asked}, found none")


def _kernel(row: dict[str, str]) -> CompiledKernel:
    texts = ("schedule", "kernel", "arch")
    values = {
        field.name: row[field.name] if field.name in texts else _number(row[field.name])
        for field in fields(CompiledKernel)
    }
    return CompiledKernel(**values | {"causal": row["causal"] == "true"})  # type: ignore[arg-type]


def _number(cell: str) -> int | None:
    return int(cell) if cell.isdigit() else None
