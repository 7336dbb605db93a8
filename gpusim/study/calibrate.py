"""The physical constants of a GPU profile fitted to measured rows.

Fitted are the calibrated numbers, and estimates that have bounds; by name, any number with bounds.
The fit predicts with the closed form; errors before and after are those of the engine asked for, on
the rows that were fitted and on a part that was held back. The law of the fit is in `fit.py`.
"""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from math import inf
from typing import Any

import numpy as np

from gpusim.errors import SpecError, excerpt, nearest, plain
from gpusim.spec.gpu import Gpu
from gpusim.spec.load import load_gpu
from gpusim.spec.provenance import Kind
from gpusim.study.accuracy import errors
from gpusim.study.calibrated import Constant, consequences, leaves
from gpusim.study.calibration_rows import Drawn, call_of, check_count, held_back
from gpusim.study.fit import Matrix, Unknown, Vector, Verdict, fit
from gpusim.study.measured import MeasuredRow
from gpusim.study.row_times import RowTimes
from gpusim.study.simulate import check_engine

#: Digits that a fitted constant keeps.
DIGITS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What a calibration found.

    Attributes:
        base: the profile as it was given.
        start: the profile that the fit began with.
        after: the profile with the fitted constants.
        constants: every constant that could be fitted.
        errors: statistics of predictions by part ('fitted', 'held_back') and time ('before',
            'after').
        left_out: rows that cannot be read or predicted, by reason.
        rows: what the rows are, in words.
    """

    base: Gpu
    start: Gpu
    after: Gpu
    constants: list[Constant]
    errors: dict[str, dict[str, dict[str, Any]]]
    left_out: Counter[str]
    rows: str

    def as_dict(self) -> dict[str, Any]:
        """Constants, errors and rows left out."""
        return {
            "gpu": self.base.name,
            "rows": {part: found["after"]["rows"] for part, found in self.errors.items()},
            "constants": [constant.as_dict() for constant in self.constants],
            "errors": self.errors,
            "left_out": [{"reason": r, "rows": n} for r, n in self.left_out.most_common()],
        }

    def leaves(self) -> dict[str, dict[str, Any]]:
        """Numbers of a profile that extends the base by what was found."""
        return leaves(self.base, self.start, self.after, self.constants, self.rows)


def calibrate(
    drawn: Drawn,
    gpu: str,
    *,
    only: Sequence[str] = (),
    engine: str = "analytic",
    uncalibrated: bool = False,
    seed: int = 0,
    workers: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Calibration:
    """Fit the constants of a profile to measured rows.

    Args:
        drawn: rows of this GPU.
        gpu: name or file of the profile.
        only: the numbers to fit; by default those that are calibrated or estimated.
        engine: of the errors before and after: 'sim' or 'analytic'.
        uncalibrated: start from the profile with nothing calibrated, and let the prior hold to it.
        seed: of the part that is held back.
        workers: processes; as many as there are CPUs by default.
        say: told what is being done.

    Raises:
        SpecError: for too few rows that can be predicted, or numbers that have no bounds.
    """
    check_engine(engine)
    base = load_gpu(gpu)
    fields = fields_of(base, only)
    start = base.uncalibrated() if uncalibrated else base
    with RowTimes(workers or os.cpu_count() or 1) as times:
        say(f"predicting {len(drawn.rows)} rows")
        rows, refused = times.predictable(drawn.rows, start)
        check_count(rows, drawn.name, refused)
        held = held_back([call_of(row) for row in rows], seed)
        fitted = [row for row, out in zip(rows, held, strict=True) if not out]
        constants = _fitted(start, fields, fitted, times, say)
        found = {c.field: c.after for c in constants if c.is_fitted}
        numbers = {f: _rounded(start, f, x) for f, x in consequences(start, found).items()}
        after = start.replaced(numbers)
        constants = [replace(c, after=after.value(c.field)) for c in constants]
        say(f"errors before and after, engine {engine}")
        before_us, after_us = times.of([start, after], rows, engine)
    measured = np.array([row.measured_us for row in rows])
    parts = {"fitted": ~held, "held_back": held}
    scores = {
        part: {
            when: errors(us[chosen].tolist(), measured[chosen].tolist())
            for when, us in (("before", before_us), ("after", after_us))
        }
        for part, chosen in parts.items()
    }
    return Calibration(
        base=base,
        start=start,
        after=after,
        constants=constants,
        errors=scores,
        left_out=drawn.left_out + refused,
        rows=f"{drawn.name}, {len(fitted)} of {len(rows)} rows",
    )


def fields_of(gpu: Gpu, only: Sequence[str] = ()) -> list[str]:
    """The numbers of a profile to fit: those named, or all calibrated and estimated ones.

    Without those of matrix products (`gemm`), of which measured attention tells nothing.

    Raises:
        SpecError: for a name of no number with bounds, or a profile without any.
    """
    bounded = {
        field: origin.kind
        for field, origin in gpu.provenance.items()
        if origin.bounds and not field.startswith("gemm.")
    }
    for field in only:
        if field not in bounded:
            hint = nearest(field, bounded) or f"; known: {', '.join(bounded)}"
            found = plain(field) or excerpt(field)
            raise SpecError(f"--only: expected numbers with bounds, found {found}{hint}")
    chosen = only or [f for f, kind in bounded.items() if kind in (Kind.CALIBRATED, Kind.ESTIMATED)]
    if not chosen:
        raise SpecError(f"{gpu.name}: expected a number with bounds to calibrate, found none")
    return [field for field in bounded if field in chosen]


def _fitted(
    start: Gpu,
    fields: Sequence[str],
    rows: Sequence[MeasuredRow],
    times: RowTimes,
    say: Callable[[str], None],
) -> list[Constant]:
    measured = np.log([row.measured_us for row in rows])
    tried = 0

    def residuals(versions: Sequence[Vector]) -> Matrix:
        nonlocal tried
        numbers = [dict(zip(fields, map(float, values), strict=True)) for values in versions]
        gpus = [start.replaced(consequences(start, chosen)) for chosen in numbers]
        found: Matrix = np.log(times.of(gpus, rows, "analytic")) - measured
        tried += len(gpus)
        error = float(np.median(np.abs(np.expm1(found[0]))))
        say(f"{len(fields)} constants, {len(rows)} rows: {tried} profiles, error {error:.1%}")
        return found

    bounds = [start.provenance[field].bounds or (0.0, 0.0) for field in fields]
    unknowns = [
        Unknown(start=start.value(field), low=low, high=high)
        for field, (low, high) in zip(fields, bounds, strict=True)
    ]
    return [
        Constant(
            field=field,
            meaning=_meaning(start, field),
            before=unknown.start,
            after=unknown.start if known.verdict is Verdict.NOT else known.value,
            error=known.error,
            verdict=known.verdict,
            low=unknown.low,
            high=unknown.high,
        )
        for field, unknown, known in zip(fields, unknowns, fit(residuals, unknowns), strict=True)
    ]


def _rounded(gpu: Gpu, field: str, value: float) -> float:
    low, high = gpu.provenance[field].bounds or (0.0, inf)
    return min(max(float(f"{value:.{DIGITS}g}"), low), high)


def _meaning(gpu: Gpu, field: str) -> str:
    """What a number stands for, as the profile's schema says."""
    *path, key = field.split(".")
    section = reduce(getattr, path, gpu)
    known = type(section).model_fields.get(key)
    return known.description or "" if known else ""
