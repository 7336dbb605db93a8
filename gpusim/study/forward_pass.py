"""One forward pass of a model over a batch of sequences: every operator's time, added up.

Attention comes from the engines with the chosen schedule, products from the tile model of the same
machine, all other kernels from their bytes, and what the GPUs exchange from the links' constants.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from gpusim.launch_result import LaunchResult
from gpusim.result import ModelStep, Result
from gpusim.schedules.decoder import Product
from gpusim.spec.attention import BYTES, DType, Sequence
from gpusim.spec.gpu import Gpu
from gpusim.spec.load import load_gpu
from gpusim.spec.load_model import load_model
from gpusim.spec.model import PLAIN_BYTES, Model
from gpusim.spec.projection import Projection
from gpusim.study.assumptions import assumptions
from gpusim.study.deployment import Deployment
from gpusim.study.step_parts import Launches, not_a_kernel
from gpusim.units import PJ, US_PER_S

OPERATORS = ("attention", "gemm", "norms", "all_reduce", "head", "framework")


def forward_pass(  # noqa: PLR0913 - named options, each with a default
    model: Model | str,
    sequences: Iterable[Sequence],
    gpu: Gpu | str,
    schedule: str,
    *,
    tensor_parallel: int = 1,
    engine: str = "sim",
    l2: str = "cold",
    load: str | float = "steady",
    overhead_us: float = 0.0,
    weight_dtype: DType = "bf16",
    kv_dtype: DType | None = None,
    page_size: int | None = None,
    workload: str = "",
    **options: Any,
) -> Result:
    """Predict one step of a model: `q_len` new tokens of each sequence, one sampled token each.

    Args:
        model: shapes (`gpusim.load_model`), or the name or file of a model.
        sequences: lengths: prompts, decodes and chunks may be mixed.
        gpu: a profile, or the name of one.
        schedule: of attention: one of `gpusim.SCHEDULES`, or as a framework ships it.
        tensor_parallel: GPUs that share the model.
        engine: 'sim' (discrete events) or 'analytic' (closed form).
        l2: 'cold', or 'warm' for attention over buffers that were just read; weights are cold.
        load: 'benchmark', 'steady' or seconds of continuous load.
        overhead_us: time of the step outside kernels, as stated.
        weight_dtype: of the projections.
        kv_dtype: of the KV cache; default: 16 bit.
        page_size: of the KV cache; default: the schedule's.
        workload: a name for the result.
        **options: the schedule's own.

    Raises:
        SpecError: for an unknown name or option, a model that cannot be shared among so many GPUs,
            or a problem that the schedule or the GPU cannot take.
    """
    deployment = Deployment(
        model=load_model(model) if isinstance(model, str) else model,
        gpu=load_gpu(gpu) if isinstance(gpu, str) else gpu,
        schedule=schedule,
        options=options,
        tensor_parallel=tensor_parallel,
        weight_dtype=weight_dtype,
        kv_dtype=kv_dtype,
        page_size=page_size,
        engine=engine,
        l2=l2,
        load=load,
    )
    step = deployment_step(deployment, tuple(sequences), overhead_us)
    return replace(step, workload=workload)


def deployment_step(
    deployment: Deployment, sequences: tuple[Sequence, ...], overhead_us: float
) -> Result:
    """One step of a deployment; arguments and errors as of `forward_pass`."""
    tokens = sum(s.count * s.q_len for s in sequences)
    context = sum(s.count * s.kv_len for s in sequences)
    rows = sum(s.count for s in sequences)
    ((attention, attended),) = attention_launches(deployment, [sequences])
    launches = [
        *attention,
        *deployment.layers(tokens, context),
        *deployment.embedding(tokens),
        *deployment.head(rows),
    ]
    if overhead_us:
        launches.append(not_a_kernel("framework", overhead_us, operator="framework"))
    step = _model_step(deployment, sequences, attended, overhead_us)
    return _result(deployment, sequences, step, attended[0][0], tuple(launches))


def attention_launches(
    deployment: Deployment, steps: list[tuple[Sequence, ...]]
) -> list[tuple[Launches, list[tuple[Result, int]]]]:
    """Of steps over such sequences, the kernels of attention and its result for each window.

    The cache is written once a layer. A schedule that brings the framework's cache write keeps it,
    unless the cache is a latent one, whose write is counted with the layer.

    Raises:
        SpecError: as `Deployment.attention`.
    """
    latent = deployment.model.mla is not None
    attended = deployment.attention(steps)
    kernels = [_kernels(deployment, each, latent=latent) for each in attended]
    tokens = {
        index: sum(s.count * s.q_len for s in steps[index])
        for index, found in enumerate(kernels)
        if not latent and not any(la.name.startswith("cache_write") for la in found)
    }
    distinct = list(dict.fromkeys(tokens.values()))
    writes = dict(zip(distinct, deployment.cache_writes(distinct), strict=True))
    for index, count in tokens.items():
        kernels[index] += writes[count]
    return list(zip(kernels, attended, strict=True))


def _kernels(
    deployment: Deployment, attended: list[tuple[Result, int]], *, latent: bool
) -> Launches:
    """Kernels of each window's attention, named after it if there are several."""
    found: list[LaunchResult] = []
    for (result, layers), window in zip(attended, deployment.model.windows, strict=True):
        label = f" (window {window})" if window and len(attended) > 1 else ""
        found += [
            replace(la, name=f"{la.name}{label}", calls=layers)
            for la in result.launches
            if not (latent and la.name == "cache_write")
        ]
    return tuple(found)


def _result(
    deployment: Deployment,
    sequences: tuple[Sequence, ...],
    step: ModelStep,
    first: Result,
    launches: tuple[LaunchResult, ...],
) -> Result:
    """The launches added up; what one window's attention is called holds for all."""
    parts = dict.fromkeys(OPERATORS, 0.0)
    for la in launches:
        parts[la.operator] += la.total_us
    time_us = sum(parts.values())
    shares = {name: us / time_us for name, us in parts.items() if us}
    flop, moved = _beside_attention(deployment, sequences)
    result = Result(
        workload="",
        gpu=deployment.gpu.name,
        schedule=deployment.schedule,
        engine=first.engine,
        time_us=time_us,
        bound=max(parts, key=lambda name: parts[name]),
        breakdown=dict(sorted(shares.items(), key=lambda item: (-item[1], item[0]))),
        useful_flop=step.attention_flop + flop,
        compulsory_bytes=step.attention_bytes + moved,
        footprint_bytes=step.weight_bytes + step.kv_bytes,
        energy_j=0.0,
        launches=launches,
        options=dict(deployment.options),
        approximation=first.approximation,
        step=step,
    )
    return replace(result, energy_j=deployment.tensor_parallel * _energy_j(result, deployment.gpu))


def _model_step(
    deployment: Deployment,
    sequences: tuple[Sequence, ...],
    attended: list[tuple[Result, int]],
    overhead_us: float,
) -> ModelStep:
    model, tp = deployment.model, deployment.tensor_parallel
    return ModelStep(
        model=model.name,
        tensor_parallel=tp,
        weight_dtype=deployment.weight_dtype,
        kv_dtype=deployment.cache_dtype,
        weight_bytes=model.weight_bytes(deployment.weight_dtype, tp),
        kv_bytes=sum(
            s.count * model.kv_bytes(s.kv_len, deployment.cache_dtype, tp) for s in sequences
        ),
        attention_flop=sum(layers * result.useful_flop for result, layers in attended),
        attention_bytes=sum(layers * result.compulsory_bytes for result, layers in attended),
        assumptions=assumptions(deployment, overhead_us),
    )


def _beside_attention(
    deployment: Deployment, sequences: tuple[Sequence, ...]
) -> tuple[float, float]:
    """Useful FLOP of all products on one GPU, and compulsory bytes of all but attention."""
    tokens = sum(s.count * s.q_len for s in sequences)
    context = sum(s.count * s.kv_len for s in sequences)
    rows = sum(s.count for s in sequences)
    head = Projection(
        name="lm_head",
        inputs=deployment.model.hidden_size,
        outputs=deployment.model.vocab_per_gpu(deployment.tensor_parallel),
    )
    last = Product(projection=head, rows=rows, calls=1, useful_rows=rows)
    products = list(deployment.decoder.products(tokens, context))
    flop = sum(p.useful_flop for p in (*products, last))
    size = BYTES[deployment.weight_dtype]
    moved = sum(p.compulsory_bytes(size) for p in products) + last.compulsory_bytes(PLAIN_BYTES)
    passes = deployment.decoder.passes(tokens)
    return flop, moved + sum(p.calls * (p.read_bytes + p.write_bytes) for p in passes)


def _energy_j(result: Result, gpu: Gpu) -> float:
    """Of one GPU: idle power over the time, and energy of matrix FLOP and HBM bytes."""
    power, seconds = gpu.power, result.time_us / US_PER_S
    flop = power.tensor_pj_per_flop * result.total("issued_flop")
    work_j = (power.hbm_pj_per_byte * result.hbm_bytes + flop) * PJ
    return min(power.idle_w * seconds + work_j, power.tdp_w * seconds)
