"""Tables of the terminal: what would be measured, and what was."""

from collections.abc import Mapping, Sequence

from gpusim.report.table import render, table
from gpusim.spec.gpu import Gpu
from gpusim.units import digits
from validation.microbench.benchmark import Benchmark, Reading


def plan_table(gpu: Gpu, benchmarks: Sequence[Benchmark], *, quick: bool) -> str:
    """A row for each field that would be replaced, with its present value; sizes at the first."""
    rows = table(f"benchmark|field|>{gpu.name}|kind|measured with")
    for benchmark in benchmarks:
        plan = benchmark.plan(gpu, quick)
        for i, field in enumerate(benchmark.fields(gpu)):
            value, kind = _present(gpu, field)
            rows.add_row("" if i else benchmark.name, field, value, kind, "" if i else plan)
    return render(rows)


def readings_table(gpu: Gpu, found: Mapping[str, Sequence[Reading]]) -> str:
    """A row for each reading, beside the profile's number."""
    rows = table(f"benchmark|field|>measured|>{gpu.name}|kind|how")
    for name, readings in found.items():
        for i, r in enumerate(readings):
            present = _present(gpu, r.name)
            rows.add_row("" if i else name, r.name, digits(r.value), *present, r.how)
    return render(rows)


def _present(gpu: Gpu, field: str) -> tuple[str, str]:
    """Value and kind in the profile; dashes for what is no field of it."""
    if field not in gpu.provenance:
        return "-", "-"
    number = next(row for row in gpu.numbers() if row["field"] == field)
    return digits(number["value"]), number["kind"]
