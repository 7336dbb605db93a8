"""The table of the roofline: ceilings of each memory level and instruction path, and the runs."""

from collections.abc import Sequence
from typing import Any

from gpusim.machine.pipes import tensor_rate
from gpusim.result import Result
from gpusim.spec.gpu import Gpu
from gpusim.spec.model_workload import AnyWorkload
from gpusim.spec.workload import Workload
from gpusim.study.predict import Case
from gpusim.study.run_tables import Rows, run_columns
from gpusim.units import US_PER_S

#: FP32 operations of a score in online softmax: scale, maximum and sum (`step.attention_step`).
FP32_PER_SCORE = 3


def roofline(cases: Sequence[Case]) -> Rows:
    """Rows of three kinds, by `kind`.

    'memory': a ceiling per workload, GPU and memory level `name`, `gb_per_s`: HBM sustained, L2 and
    shared memory at the SM clock of the workload's load.
    'compute': a ceiling per instruction path, `tflops`: matrix instructions as kernels reach them
    (mma_sync with its achieved fraction), and useful TFLOP/s at which exp2 and FP32 would be busy
    all the time: each of the 2·(d + dv) useful FLOP of a score comes with one exp2 and three FP32
    operations.
    'run': per run and level, useful `tflops` over `flop_per_byte`, useful FLOP per byte that the
    run moves at that level.
    """
    rows: Rows = []
    seen: set[tuple[str, str]] = set()
    for run, case in enumerate(cases):
        result = case.result
        if (result.workload, result.gpu) not in seen:
            seen.add((result.workload, result.gpu))
            names = {"workload": result.workload, "gpu": result.gpu}
            rows += [names | ceiling for ceiling in _ceilings(case)]
        rows += [run_columns(run, result) | point for point in _points(result)]
    return rows


def _ceilings(case: Case) -> Rows:
    gpu, clock_hz = case.gpu, case.gpu.clock_hz(case.workload.load)
    per_s = gpu.sm.count * clock_hz
    memory = {
        "HBM": gpu.hbm.sustained_gb_per_s * 1e9,
        "L2": gpu.l2.bytes_per_clock * clock_hz,
        "shared memory": gpu.pipes.smem_bytes_per_clock * per_s,
    }
    compute = _paths(gpu, case.workload)
    return [
        *({"kind": "memory", "name": k, "gb_per_s": v / 1e9} for k, v in memory.items()),
        *({"kind": "compute", "name": k, "tflops": v * per_s / 1e12} for k, v in compute.items()),
    ]


def _paths(gpu: Gpu, workload: AnyWorkload) -> dict[str, float]:
    """Useful FLOP per clock and SM of each instruction path that the workload can take.

    Of a model's step the matrix instructions alone: most of its FLOP come with no softmax.
    """
    attention = workload.attention if isinstance(workload, Workload) else None
    tensor = gpu.tensor
    rates = {"mma_sync": tensor.mma_sync_flop_per_clock, "wgmma": tensor.wgmma_flop_per_clock}
    dtypes = dict.fromkeys(_dtypes(workload))
    paths = {
        f"{path} {dtype}": tensor_rate(gpu, path, dtype)
        for path, known in rates.items()
        for dtype in dtypes
        if dtype in known
    }
    if attention is None:
        return paths
    per_score = 2.0 * (attention.head_dim + (attention.v_head_dim or attention.head_dim))
    paths["exp2"] = gpu.pipes.exp2_per_clock * per_score
    paths["FP32"] = gpu.pipes.fp32_per_clock / FP32_PER_SCORE * per_score
    return paths


def _dtypes(workload: AnyWorkload) -> tuple[str, str]:
    """Types that matrix instructions may see."""
    if isinstance(workload, Workload):
        return workload.attention.dtype, workload.attention.cache_dtype
    return "bf16", workload.weight_dtype


def _points(result: Result) -> list[dict[str, Any]]:
    traffic = result.as_dict()["traffic"]
    moved = {
        "HBM": result.hbm_bytes,
        "L2": traffic["l2_to_sm_bytes"],
        "shared memory": traffic["smem_bytes"],
    }
    tflops = result.useful_flop / (result.time_us / US_PER_S) / 1e12
    return [
        {"kind": "run", "name": level, "tflops": tflops, "flop_per_byte": result.useful_flop / size}
        for level, size in moved.items()
        if size > 0 and tflops > 0
    ]
