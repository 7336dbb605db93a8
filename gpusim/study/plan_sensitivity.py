"""What changes the answer of a plan most: one input at a time, up and down.

Rates, targets, prices and step times need no new runs: they only choose other points of the curves
(`plan_sizing.size`). Lengths do, of the configuration that the answer names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gpusim.spec.plan import Plan, Targets
from gpusim.study.plan_result import Change, Configuration
from gpusim.study.plan_sizing import Sizing, size
from gpusim.study.serving_curve import Point

#: Change of each input, both ways.
SWING = 0.2
#: Change of all step times: what a prediction may be wrong by (`validation/README.md` has the
#: errors of its parts on measured rows).
MODEL_ERROR = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    input: str
    by: float
    rate: float = 1.0
    ttft: float = 1.0
    tpot: float = 1.0
    price: float = 1.0
    step: float = 1.0


def _cases() -> list[_Case]:
    found = []
    for by in (-SWING, SWING):
        found += [
            _Case(input="rate", by=by, rate=1 + by),
            _Case(input="ttft target", by=by, ttft=1 + by),
            _Case(input="tpot target", by=by, tpot=1 + by),
            _Case(input="price", by=by, price=1 + by),
        ]
    found += [_Case(input="step time", by=by, step=1 + by) for by in (-MODEL_ERROR, MODEL_ERROR)]
    return found


def length_changes() -> dict[tuple[str, float], dict[str, float]]:
    """Changes of lengths by name and amount, as arguments of `Requests.scaled`."""
    return {
        (f"{name} length", by): {name: 1 + by}
        for name in ("prompt", "output")
        for by in (-SWING, SWING)
    }


def changes(
    plan: Plan,
    rate_rps: float,
    configurations: Sequence[Configuration],
    named: int,
    lengths: Mapping[tuple[str, float], Sequence[Point]],
) -> tuple[Change, ...]:
    """Changes of one configuration's answer, the greatest effect on its price first.

    Args:
        plan: targets and headroom.
        rate_rps: what is planned for.
        configurations: all of them; `price` changes that of the named one's GPU alone.
        named: index of the configuration that the answer names.
        lengths: its curves with other lengths; empty where the longest request no longer fits.
    """
    found = [_of_case(plan, rate_rps, configurations, named, case) for case in _cases()]
    of = configurations[named]
    for (name, by), points in lengths.items():
        sizing = size(points, rate_rps, plan.targets, plan.headroom) if points else None
        found.append(_change(of, sizing, name, by, 1.0, None))
    base = _change(of, of.sizing, "", 0.0, 1.0, None).usd_per_hour_exact
    effect: dict[str, float] = {}
    for change in found:
        effect[change.input] = max(
            effect.get(change.input, 0.0), _effect(base, change.usd_per_hour_exact)
        )
    return tuple(sorted(found, key=lambda change: -effect[change.input]))


def _effect(base: float | None, changed: float | None) -> float:
    """How far a price is from the answer's; that of a target lost or won is beyond all others."""
    if base is None or changed is None:
        return 0.0 if base is changed else float("inf")
    return abs(changed / base - 1)


def _of_case(
    plan: Plan,
    rate_rps: float,
    configurations: Sequence[Configuration],
    named: int,
    case: _Case,
) -> Change:
    targets = Targets(
        ttft_ms=plan.targets.ttft_ms * case.ttft,
        tpot_ms=plan.targets.tpot_ms * case.tpot,
        percentile=plan.targets.percentile,
    )
    of = configurations[named]
    priced: dict[str, float] = {}
    answer = None
    for configuration in configurations:
        if configuration.sizing is None:
            continue
        sizing = size(
            configuration.curve,
            rate_rps * case.rate,
            targets,
            plan.headroom,
            step_factor=case.step,
        )
        same_gpu = configuration.candidate.gpu is of.candidate.gpu
        change = _change(
            configuration, sizing, case.input, case.by, case.price if same_gpu else 1.0, None
        )
        if change.usd_per_hour is not None:
            priced[configuration.candidate.label] = change.usd_per_hour
        if configuration is of:
            answer = sizing
    kept = of.candidate.label  # of equal prices the answer stays
    cheapest = min(priced, key=lambda label: (priced[label], label != kept)) if priced else None
    return _change(of, answer, case.input, case.by, case.price, cheapest)


def _change(
    of: Configuration,
    sizing: Sizing | None,
    name: str,
    by: float,
    price: float,
    cheapest: str | None,
) -> Change:
    gpus = of.candidate.tensor_parallel
    usd = gpus * of.candidate.price.usd_per_hour * price
    replicas = sizing.replicas if sizing else None
    exact = sizing.replicas_exact if sizing else None
    return Change(
        input=name,
        change=f"{100 * by:+.0f}%",
        of=of.candidate.label,
        replicas=replicas,
        gpus=None if replicas is None else replicas * gpus,
        gpus_exact=None if exact is None else exact * gpus,
        usd_per_hour=None if replicas is None else replicas * usd,
        usd_per_hour_exact=None if exact is None else exact * usd,
        cheapest=cheapest,
    )
