"""Calibrated constants: what each is, what follows from them, and how a profile has them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gpusim.spec.gpu import Gpu
from gpusim.spec.provenance import Kind, Provenance
from gpusim.study.fit import Verdict

#: (the lesser, the greater, their least ratio): where a fit crosses them, the lesser gives way.
ORDERED = (
    ("clock.steady_mhz", "clock.benchmark_mhz", 1.0),
    ("l2.hit_mib", "l2.miss_mib", 1.02),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """A number that could be fitted; the unit is part of the field's name.

    Attributes:
        field: such as `cta.latency_ns`.
        meaning: in words.
        before, after: the number; the same where the rows do not determine it.
        error: standard error, relative to the number.
        verdict: whether the rows determine it.
        low, high: its bounds.
    """

    field: str
    meaning: str
    before: float
    after: float
    error: float
    verdict: Verdict
    low: float
    high: float

    @property
    def is_fitted(self) -> bool:
        """Whether its number is that of the fit."""
        return self.verdict is not Verdict.NOT

    def as_dict(self) -> dict[str, Any]:
        """All of it, by name."""
        return asdict(self) | {"verdict": self.verdict.value}


def consequences(gpu: Gpu, numbers: Mapping[str, float]) -> dict[str, float]:
    """Numbers to set on a profile, and those that follow from them."""
    full = dict(numbers)

    def value(field: str) -> float:
        return full.get(field, gpu.value(field))

    for lesser, greater, ratio in ORDERED:
        if value(lesser) > value(greater) / ratio:
            full[lesser] = value(greater) / ratio
    return full


def leaves(
    base: Gpu, start: Gpu, after: Gpu, constants: Sequence[Constant], rows: str
) -> dict[str, dict[str, Any]]:
    """What a profile that extends `base` has to say: fitted numbers, and all that differ.

    Args:
        base: the profile as it was given.
        start: the profile that the fit began with: `base`, or what is left of it uncalibrated.
        after: the profile that it ended with.
        constants: what was fitted.
        rows: the rows in words, for the sources.
    """
    fitted = {c.field: c for c in constants if c.is_fitted}
    found = {}
    for field, origin in base.provenance.items():
        if field in fitted:
            found[field] = _fitted_leaf(base, fitted[field], rows)
        elif after.value(field) != base.value(field):
            found[field] = _other_leaf(start, after, field, origin)
    return found


def _fitted_leaf(base: Gpu, constant: Constant, rows: str) -> dict[str, Any]:
    origin = base.provenance[constant.field]
    nominal = (
        origin.nominal.model_dump(mode="json")
        if origin.nominal
        else {"value": base.value(constant.field)} | _said(origin)
    )
    return {
        "value": constant.after,
        "kind": Kind.CALIBRATED.value,
        "source": f"gpusim calibrate {rows}: +-{100 * constant.error:.1f} %",
        "nominal": nominal,
        "bounds": [constant.low, constant.high],
    }


def _other_leaf(start: Gpu, after: Gpu, field: str, origin: Provenance) -> dict[str, Any]:
    """A number that followed from the fitted ones, or is the nominal one again."""
    said = _said(start.provenance[field])
    if after.value(field) != start.value(field):
        said = {"kind": Kind.ESTIMATED.value, "source": "follows from the calibrated numbers"}
    leaf: dict[str, Any] = {"value": float(f"{after.value(field):.4g}")} | said
    if origin.nominal:
        leaf["nominal"] = origin.nominal.model_dump(mode="json")
    if origin.bounds:
        leaf["bounds"] = list(origin.bounds)
    return leaf


def _said(origin: Provenance) -> dict[str, Any]:
    return {"kind": origin.kind.value, "source": origin.source}
