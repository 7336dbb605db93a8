"""One prediction: a schedule for an attention problem on a GPU, by one of the engines."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from gpusim.errors import SpecError, nearest
from gpusim.result import Result
from gpusim.schedules.catalogue import check_choice
from gpusim.spec.attention import Attention
from gpusim.spec.gpu import Gpu
from gpusim.spec.load import load_gpu
from gpusim.spec.workload import check_conditions
from gpusim.study.call import call_of, run_calls, simulate_call

ENGINES = ("sim", "analytic")


def simulate(  # noqa: PLR0913 - named options, each with a default
    attention: Attention,
    gpu: Gpu | str,
    schedule: str,
    engine: str = "sim",
    *,
    l2: str = "cold",
    load: str | float = "steady",
    workload: str = "",
    trace: bool = False,
    without: Sequence[str] = (),
    **options: Any,
) -> Result:
    """Predict one attention call.

    Args:
        attention: the problem, its sequences included.
        gpu: a profile (`gpusim.load_gpu`), or the name of one.
        schedule: one of `gpusim.SCHEDULES`, attention as a framework ships it
            (`vllm_flash_attn_3`), or with `kernel` any other name.
        engine: 'sim' (discrete events) or 'analytic' (closed form).
        l2: 'cold', or 'warm' for a replay with the same buffers.
        load: 'benchmark', 'steady' or seconds of continuous load.
        workload: a name for the result.
        trace: keep a span per CTA (`sim` only).
        without: effects that are switched off (`gpusim.study.ablation`).
        **options: the schedule's own. Tiles: block_m, block_n, num_warps, stages, registers.
            Splits: num_splits. flash1: algorithm ('shipped' or 'paper'). lean: fixed_maximum.
            SANTA: samples, logit_sigma. A kernel of one's own: kernel, a mapping as in workload
            files.

    Raises:
        SpecError: for an unknown name or option, or a problem the schedule or GPU cannot take.
    """
    check_engine(engine)
    call = call_of(
        attention,
        load_gpu(gpu) if isinstance(gpu, str) else gpu,
        schedule,
        options,
        l2=l2,
        load=load,
        workload=workload,
        without=without,
    )
    return simulate_call(call, trace=trace) if engine == "sim" else next(run_calls([call], engine))


def simulate_many(
    attentions: Iterable[Attention],
    gpu: Gpu | str,
    schedule: str,
    engine: str = "sim",
    *,
    l2: str = "cold",
    load: str | float = "steady",
    workload: str = "",
    without: Sequence[str] = (),
    **options: Any,
) -> Iterator[Result]:
    """Predict many attention calls, in their order; arguments as `simulate`, which can trace.

    The closed form takes the calls as columns, so that a small one costs a third of what it costs
    by itself, and gives the same to the last digit. Calls are taken as results are asked for, a few
    hundred ahead.

    Raises:
        SpecError: at once for an unknown name, option or state; after the results of those before
            it for the first call that cannot be predicted.
    """
    check_engine(engine)
    check_choice(schedule, options)
    check_conditions(l2, load)
    profile = load_gpu(gpu) if isinstance(gpu, str) else gpu
    calls = (
        call_of(
            attention,
            profile,
            schedule,
            dict(options),
            l2=l2,
            load=load,
            workload=workload,
            without=without,
        )
        for attention in attentions
    )
    return run_calls(calls, engine)


def check_engine(engine: str) -> None:
    """Refuse an engine that there is not."""
    if engine not in ENGINES:
        raise SpecError(
            f"engine: expected sim or analytic, found {engine!r}{nearest(engine, ENGINES)}"
        )
