"""The table of the sensitivity: how far the predicted time moves with each number of a profile."""

from collections.abc import Sequence

from gpusim.errors import SpecError
from gpusim.spec.gpu import Gpu
from gpusim.spec.provenance import Kind, Provenance
from gpusim.study.predict import Case, predict
from gpusim.study.run_tables import Rows, run_columns

#: Each number is taken so much smaller and greater.
CHANGE = 0.2
#: Rows per run, those that matter most.
MOST = 12
#: Numbers with less effect than this share of the time are left out, unless all have.
LEAST = 1e-3
#: Rules of allocation, of which no machine has a few per cent more or less.
RULES = ("_unit", "_unit_bytes", "sub_partitions", "sector_bytes", "reserved_smem_per_cta_bytes")
VARIED = Provenance(kind=Kind.ESTIMATED, source="varied, to see what it does to a prediction")


def sensitivity(cases: Sequence[Case], *, change: float = CHANGE, most: int = MOST) -> Rows:
    """A row per run and number of its GPU's profile, the one that matters most first.

    Columns: `label` (the field), `base` (predicted time with the profile as it is), `low` and
    `high` (with the number smaller and greater by the share `change`), all in `unit` us, by the
    analytic engine, whatever engine the run had; `value`, `low_value` and `high_value` of the
    number. Whole numbers stay whole, and shares at most 1; bounds of a calibration bind nothing
    here. Where the profile or the schedule cannot have a value, it is left empty and its time is
    that of the base. Rules of allocation (`RULES`) are left out.
    """
    return [row for run, case in enumerate(cases) for row in _of_case(run, case, change, most)]


def _of_case(run: int, case: Case, change: float, most: int) -> Rows:
    base = _time(case, case.gpu)
    rows: Rows = []
    for field in (name for name in case.gpu.provenance if not name.endswith(RULES)):
        value = case.gpu.value(field)
        row = run_columns(run, case.result) | {"label": field, "unit": "us", "base": base}
        row["value"] = value
        for side, factor in (("low", 1 - change), ("high", 1 + change)):
            changed = _changed(field, value, factor)
            time = _time_with(case, field, changed)
            row[side] = base if time is None else time
            row[f"{side}_value"] = None if time is None else changed
        rows.append(row)
    ordered = sorted(rows, key=lambda row: (-_reach(row), row["label"]))[:most]
    return [row for row in ordered if _reach(row) >= LEAST * base] or ordered[:1]


def _reach(row: dict[str, float]) -> float:
    """How far the time moves between the two ends, or from the base to one of them."""
    return max(row["low"], row["high"], row["base"]) - min(row["low"], row["high"], row["base"])


def _changed(field: str, value: float, factor: float) -> float:
    if isinstance(value, int):
        return max(1, round(value * factor))
    return min(1.0, value * factor) if field.endswith("_fraction") else value * factor


def _time_with(case: Case, field: str, value: float) -> float | None:
    """The time with another number, or None where it cannot be."""
    try:
        return _time(case, case.gpu.replaced({field: value}, {field: VARIED}))
    except (SpecError, ValueError):  # no GPU has it, or the kernel does not fit
        return None


def _time(case: Case, gpu: Gpu) -> float:
    run = predict(case.workload, gpu, (case.choice,), engine="analytic", strict=True)
    return run.results[0].time_us
