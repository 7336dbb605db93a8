"""What a plan says: the answer, every configuration with its curve, and what changes the answer."""

from dataclasses import asdict, dataclass, field
from typing import Any

from gpusim.study.plan_candidates import Candidate
from gpusim.study.plan_sizing import Sizing
from gpusim.study.serving_curve import Point


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Replicas that hold the targets, and what they cost.

    Attributes:
        goodput_rps: what all replicas hold together, headroom included.
        usd_per_million_output_tokens, usd_per_million_total_tokens: at the rate that is planned
            for, by outputs alone, and by prompts and outputs.
        short_by: share of the rate and its headroom that one replica less would leave unserved.
        watts: of all GPUs, from the simulated point at `operating_point.rate_rps` a replica.
    """

    replicas: int
    replicas_exact: float
    short_by: float
    gpus: int
    goodput_rps: float
    usd_per_hour: float
    usd_per_million_output_tokens: float
    usd_per_million_total_tokens: float
    watts: float
    operating_point: Point


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One GPU type at one degree, and what came out.

    `sizing` is None where the model does not fit or a step cannot run, and `reason` says why;
    `fleet` is None where a target is missed at every rate too.
    """

    candidate: Candidate
    reason: str
    max_batch: int = 0
    capacity_rps: float = 0.0
    curve: tuple[Point, ...] = field(default=(), repr=False)
    sizing: Sizing | None = None
    fleet: Fleet | None = None

    @property
    def over(self) -> float:
        """By how much the worst target is missed; infinite where nothing runs."""
        if self.sizing is None:
            return float("inf")
        return max((missed.over for missed in self.sizing.missed), default=0.0)

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        candidate, sizing, fleet = self.candidate, self.sizing, self.fleet
        return {
            "configuration": candidate.label,
            "gpu": candidate.gpu.name,
            "tensor_parallel": candidate.tensor_parallel,
            "schedule": candidate.schedule,
            "price": asdict(candidate.price),
            "fits": sizing is not None,
            "reason": self.reason,
            "memory": asdict(candidate.memory) if candidate.memory else None,
            "max_batch": self.max_batch,
            "estimated_capacity_rps": self.capacity_rps,
            "goodput_rps": sizing.goodput_rps if sizing else None,
            "limits_rps": sizing.limits_rps if sizing else None,
            "binds": sizing.binds if sizing else None,
            "because": sizing.because if sizing else None,
            "missed": [asdict(missed) for missed in sizing.missed] if sizing else [],
            "meets_targets": fleet is not None,
            "fleet": asdict(fleet) if fleet else None,
            "curve": [asdict(point) for point in self.curve],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The answer if one input were different.

    Attributes:
        input: what changes; `change` is by how much ('+20%').
        replicas, gpus, usd_per_hour: of the configuration `of`; None if it then misses a target.
        gpus_exact, usd_per_hour_exact: before replicas are rounded up.
        cheapest: the cheapest configuration then, where all were looked at; else None.
    """

    input: str
    change: str
    of: str
    replicas: int | None
    gpus: int | None
    gpus_exact: float | None
    usd_per_hour: float | None
    usd_per_hour_exact: float | None
    cheapest: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanResult:
    """A plan and its answer.

    Attributes:
        plan: inputs, as the file has them, defaults filled in.
        traffic: what was drawn from them: means and percentiles.
        best: index of the cheapest configuration that meets the targets, None if none does.
        closest: index of that which comes nearest, if none does.
        sensitivity: changes of the best (or closest) configuration, greatest effect first.
        assumptions: sentences.
    """

    plan: dict[str, Any]
    traffic: dict[str, Any]
    configurations: tuple[Configuration, ...]
    best: int | None
    closest: int | None
    sensitivity: tuple[Change, ...]
    assumptions: tuple[str, ...]

    def answer(self) -> dict[str, Any]:
        """The answer in numbers, and in a sentence."""
        met = self.best is not None
        index = self.best if met else self.closest
        of = self.configurations[index] if index is not None else None
        fleet = asdict(of.fleet) if of and of.fleet else {}
        fleet.pop("operating_point", None)
        return {
            "meets_targets": met,
            "configuration": of.candidate.label if of else None,
            "gpu": of.candidate.gpu.name if of else None,
            "tensor_parallel": of.candidate.tensor_parallel if of else None,
            **{name: fleet.get(name) for name in _FLEET},
            "binds": of.sizing.binds if of and of.sizing else None,
            "because": of.sizing.because if of and of.sizing else None,
            "missed": [asdict(m) for m in of.sizing.missed] if of and of.sizing else [],
        }

    def as_dict(self) -> dict[str, Any]:
        """The JSON form: plain dicts, lists, numbers and strings."""
        return {
            "plan": self.plan,
            "traffic": self.traffic,
            "answer": self.answer(),
            "configurations": [found.as_dict() for found in self.configurations],
            "sensitivity": [asdict(change) for change in self.sensitivity],
            "assumptions": list(self.assumptions),
        }


_FLEET = (
    "replicas",
    "replicas_exact",
    "short_by",
    "gpus",
    "goodput_rps",
    "usd_per_hour",
    "usd_per_million_output_tokens",
    "usd_per_million_total_tokens",
    "watts",
)
