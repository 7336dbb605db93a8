"""From a model, GPUs, traffic and targets to a number of GPUs and its price."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gpusim.errors import SpecError
from gpusim.schedules.catalogue import check_choice
from gpusim.spec.load import load_plan
from gpusim.spec.load_model import load_model
from gpusim.spec.plan import Plan
from gpusim.study.plan_candidates import Candidate, TimerOf, candidates, step_times
from gpusim.study.plan_inputs import assumptions, inputs_of, traffic_of
from gpusim.study.plan_result import Change, Configuration, Fleet, PlanResult
from gpusim.study.plan_sensitivity import changes, length_changes
from gpusim.study.plan_sizing import size
from gpusim.study.plan_tasks import PointTask, Prepared, Progress, Runner, curve_tasks
from gpusim.study.requests import Requests, requests_of
from gpusim.study.serving_curve import LOADS, Point, full_batch

#: Processes that share the runs of a plan.
WORKERS = 2
SECONDS_PER_HOUR = 3600
MILLION = 1e6


def plan(
    problem: Plan | str | Path,
    *,
    seed: int | None = None,
    workers: int = WORKERS,
    progress: Progress | None = None,
    timer_of: TimerOf = step_times,
) -> PlanResult:
    """The cheapest number of GPUs that holds a plan's targets, and all that it was chosen from.

    Args:
        problem: a plan, its file, or the name of a shipped one.
        seed: of arrivals and lengths, in the place of the plan's.
        workers: processes; the answer is the same for any number.
        progress: told after each run how many have ended, and how many there will be.
        timer_of: step times of a configuration; default: those of the model's forward pass.

    Raises:
        SpecError: naming the file, for a mistake in it, an unknown model, GPU or schedule, or a
            malformed file of requests.
    """
    found = problem if isinstance(problem, Plan) else load_plan(problem)
    if seed is not None:
        traffic = found.traffic.model_copy(update={"seed": seed})
        found = found.model_copy(update={"traffic": traffic})
    try:
        return _answer(found, Runner(workers, progress), timer_of)
    except SpecError as error:
        source = found.name if isinstance(problem, Plan) else problem
        raise SpecError(f"{source}: {error}") from error


def _answer(plan: Plan, runner: Runner, timer_of: TimerOf) -> PlanResult:
    """Three rounds of runs: curves, the fleets that they size, other lengths of the answer."""
    try:
        model = load_model(plan.model)
    except SpecError as error:
        raise SpecError(f"model: {error}") from error
    if plan.schedule is not None:
        check_choice(plan.schedule, {})
    requests = requests_of(plan.traffic)
    with runner.within:
        found = candidates(plan, model, requests)
        fitting = sum(not one.reason for one in found)
        runner.expect(len(found) + fitting * (len(LOADS) + 1) + 4 * len(LOADS))
        prepared = runner.prepare(plan, model, found, requests, timer_of)
        sized = _configurations(plan, found, prepared, requests, runner)
        best, closest = _best(sized), _closest(sized)
        named = best if best is not None else closest
        sensitivity: tuple[Change, ...] = ()
        if named is not None:
            lengths = _other_lengths(plan, prepared[named], requests, runner)
            sensitivity = changes(plan, requests.rate_per_s, sized, named, lengths)
    return PlanResult(
        plan=inputs_of(plan, model, requests),
        traffic=traffic_of(requests),
        configurations=tuple(sized),
        best=best,
        closest=None if best is not None else closest,
        sensitivity=sensitivity,
        assumptions=assumptions(plan, model),
    )


def _configurations(
    plan: Plan,
    found: Sequence[Candidate],
    prepared: Sequence[Prepared],
    requests: Requests,
    runner: Runner,
) -> list[Configuration]:
    """Curves of all that run, their sizes, and for those that meet the targets their fleets."""
    points = iter(
        runner.points(
            [task for one in prepared for task in curve_tasks(one, requests, plan.targets)]
        )
    )
    sized = []
    for candidate, one in zip(found, prepared, strict=True):
        if one.replica is None:
            sized.append(Configuration(candidate=candidate, reason=one.reason))
            continue
        curve = tuple(next(points) for _ in LOADS)
        sized.append(
            Configuration(
                candidate=candidate,
                reason="",
                max_batch=full_batch(requests, one.replica.limits),
                capacity_rps=one.capacity_rps,
                curve=curve,
                sizing=size(curve, requests.rate_per_s, plan.targets, plan.headroom),
            )
        )
    return _with_fleets(plan, sized, prepared, requests, runner)


def _with_fleets(
    plan: Plan,
    sized: list[Configuration],
    prepared: Sequence[Prepared],
    requests: Requests,
    runner: Runner,
) -> list[Configuration]:
    """Each fleet's replica is simulated once more, at its share of the rate."""
    tasks: dict[int, PointTask] = {}
    for index, (one, configuration) in enumerate(zip(prepared, sized, strict=True)):
        sizing = configuration.sizing
        if one.replica is None or sizing is None or sizing.replicas is None:
            continue
        rate = requests.rate_per_s / sizing.replicas
        tasks[index] = PointTask(
            replica=one.replica,
            requests=requests,
            rate_rps=rate,
            load=rate / one.capacity_rps,
            targets=plan.targets,
        )
    runner.expect(len(tasks) - sum(one.replica is not None for one in prepared))
    points = runner.points(list(tasks.values()))
    for index, at in zip(tasks, points, strict=True):
        sized[index] = replace(sized[index], fleet=_fleet(sized[index], requests, at))
    return sized


def _fleet(configuration: Configuration, requests: Requests, at: Point) -> Fleet:
    candidate, sizing = configuration.candidate, configuration.sizing
    assert sizing is not None
    assert sizing.replicas is not None
    assert sizing.replicas_exact is not None
    gpus = sizing.replicas * candidate.tensor_parallel
    usd = gpus * candidate.price.usd_per_hour
    hourly = requests.rate_per_s * SECONDS_PER_HOUR / MILLION
    outputs = float(requests.output_tokens.mean())
    return Fleet(
        replicas=sizing.replicas,
        replicas_exact=sizing.replicas_exact,
        short_by=max(0.0, 1 - (sizing.replicas - 1) / sizing.replicas_exact),
        gpus=gpus,
        goodput_rps=sizing.replicas * sizing.goodput_rps,
        usd_per_hour=usd,
        usd_per_million_output_tokens=usd / (hourly * outputs),
        usd_per_million_total_tokens=usd
        / (hourly * (outputs + float(requests.prompt_tokens.mean()))),
        watts=gpus * at.watts,
        operating_point=at,
    )


def _best(sized: Sequence[Configuration]) -> int | None:
    """The cheapest that meets the targets; of equal ones the first with the least power."""
    met = [
        (one.fleet.usd_per_hour, one.fleet.watts, index)
        for index, one in enumerate(sized)
        if one.fleet is not None
    ]
    return min(met)[2] if met else None


def _closest(sized: Sequence[Configuration]) -> int | None:
    """That which misses its worst target by least; None if nothing runs at all."""
    runs = [(one.over, index) for index, one in enumerate(sized) if one.sizing is not None]
    return min(runs)[1] if runs else None


def _other_lengths(
    plan: Plan, prepared: Prepared, requests: Requests, runner: Runner
) -> dict[tuple[str, float], list[Point]]:
    """Curves of a configuration with longer and shorter requests; empty if they do not fit."""
    assert prepared.replica is not None
    limits = prepared.replica.limits
    tasks: dict[tuple[str, float], list[PointTask]] = {}
    for key, factors in length_changes().items():
        other = requests.scaled(**factors)
        fits = other.longest_tokens <= limits.kv_pages * limits.page_size
        tasks[key] = curve_tasks(prepared, other, plan.targets) if fits else []
    points = iter(runner.points([task for group in tasks.values() for task in group]))
    return {key: [next(points) for _ in group] for key, group in tasks.items()}
