"""What Triton made of the frameworks' attention kernels: resources, and how long their code takes.

`validation/compiled_frameworks/` has one table, of the Triton version in its name; how it is made
stands in `validation/README.md`.
"""

import csv
from dataclasses import dataclass
from functools import cache

from gpusim.spec.load import shipped

FOLDER = "validation/compiled_frameworks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """Clocks of one pass of a main loop, from its instructions; waits for loads left out.

    Attributes:
        chain_clocks: of a CTA that has the SM to itself: issue, dependences, barriers.
        busy_clocks: of the SM per pass, when as many CTAs as fit keep it busy.
    """

    chain_clocks: float
    busy_clocks: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameworkBuild:
    """One build of a framework's kernel.

    Attributes:
        threads, registers, smem_bytes: as a CTA needs them (registers per thread).
        code: time of a pass of the main loop.
        loads: waits for L2 in a row within it.
        local_bytes: of spilled registers that a CTA moves through L2 in it, where L1 has no room.
        skip_clocks: of a pass that finds its tile outside the window; 0 if there is no such pass.
    """

    threads: int
    registers: int
    smem_bytes: int
    code: Code
    loads: float
    local_bytes: float
    skip_clocks: float


Key = tuple[str, str, int, str, str, bool]


def framework_build(
    kernel: str, arch: str, *, head_dim: int, dtype: str, kv_dtype: str, window: bool
) -> FrameworkBuild | None:
    """The build of a kernel, or None if the table has none. FP16 is built as BF16 is."""
    types = ("bf16" if name == "fp16" else name for name in (dtype, kv_dtype))
    return _builds().get((kernel, arch, head_dim, *types, window))  # type: ignore[arg-type]


@cache
def _builds() -> dict[Key, FrameworkBuild]:
    (path,) = shipped(FOLDER, ".csv").values()
    with path.open(encoding="utf-8", newline="") as file:
        return {_key(row): _build(row) for row in csv.DictReader(file)}


def _key(row: dict[str, str]) -> Key:
    window = row["window"] == "true"
    return row["kernel"], row["arch"], int(row["head_dim"]), row["dtype"], row["kv_dtype"], window


def _build(row: dict[str, str]) -> FrameworkBuild:
    return FrameworkBuild(
        threads=int(row["threads"]),
        registers=int(row["registers"]),
        smem_bytes=int(row["smem_bytes"]),
        code=Code(chain_clocks=float(row["chain_clocks"]), busy_clocks=float(row["busy_clocks"])),
        loads=float(row["loads"]),
        local_bytes=float(row["local_bytes"]),
        skip_clocks=float(row["skip_clocks"]),
    )
