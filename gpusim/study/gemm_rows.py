"""Measured matrix products of the package `aiconfigurator-core`, and their prediction.

A row is one product out of six that a CUDA graph replays one after another: each has weights of its
own, so that they are found in L2 only if six times as many fit there. SGLang's six have activations
of their own too, vLLM's share them; all write the same buffer, which the allocator gives out again.
FP8 rows quantise the activations first, with a kernel of its own.
Source: `collector/sglang/collect_gemm.py`, `collector/vllm/collect_gemm.py`, `collector/helper.py`.
"""

from collections import Counter
from dataclasses import dataclass, replace
from importlib import import_module

from gpusim.schedules.elementwise import copy, copy_launch
from gpusim.schedules.gemm import Gemm
from gpusim.schedules.launch import Launch, once
from gpusim.spec.gpu import Gpu
from gpusim.spec.load import load_gpu
from gpusim.study.aiconfigurator import GPUS, PREFIX, data_folder, newest
from gpusim.study.gemm import planner
from gpusim.study.predict_row import limited_share

FRAMEWORKS = ("sglang", "vllm")
#: Data type by the tables' name. `fp8_block` scales blocks of 128 and runs other kernels.
DTYPES = {"bfloat16": "bf16", "fp8": "fp8"}
#: Products in a graph; calls before the first timed one (three rounds, three replays of the graph)
#: and up to the last (six replays).
ROTATING, CALLS = 6, (36, 72)
#: Of the kernels that quantise: threads of a token's CTA, and walks over the token: SGLang's looks
#: for its greatest value first (`per_token_quant_fp8.cu`), vLLM's scale is given (`common.cu`).
QUANTISE_THREADS, QUANTISE_WALKS = 256, {"sglang": 2, "vllm": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class GemmRow:
    """One measured product: profile, framework, sizes, time."""

    gpu: str
    framework: str
    dtype: str
    m: int
    n: int
    k: int
    measured_us: float

    @property
    def gemm(self) -> Gemm:
        """The product."""
        return Gemm(m=self.m, n=self.n, k=self.k, dtype=self.dtype)


def gemm_datasets() -> list[str]:
    """Names of the datasets, `aiconfigurator:SYSTEM/FRAMEWORK`."""
    return [f"{PREFIX}{system}/{framework}" for system in GPUS for framework in FRAMEWORKS]


def read_gemms(name: str) -> tuple[list[GemmRow], Counter[str]]:
    """Rows of a dataset in its newest version, and how many were left out by data type.

    Raises:
        SpecError: without the extra `measurements`.
    """
    system, _, framework = name.removeprefix(PREFIX).partition("/")
    file = newest(data_folder() / system / "gemm" / framework) / "gemm_perf.parquet"
    rows, left_out = [], Counter[str]()
    for raw in import_module("pyarrow.parquet").read_table(file).to_pylist():
        dtype = DTYPES.get(raw["gemm_dtype"])
        if dtype is None:
            left_out[raw["gemm_dtype"]] += 1
            continue
        rows.append(
            GemmRow(
                gpu=GPUS[system],
                framework=framework,
                dtype=dtype,
                m=raw["m"],
                n=raw["n"],
                k=raw["k"],
                measured_us=1000 * raw["latency"],
            )
        )
    return rows, left_out


def predict_gemm_row(row: GemmRow, *, engine: str = "analytic") -> float:
    """Predicted time of a row in us.

    Under the clocks of a benchmark; for the share of the timed calls that runs after the power
    limit has begun to act, slower by as much as steady clocks slow the same launches.
    """
    gpu, gemm = load_gpu(row.gpu), row.gemm
    others, before = (_others(row),), _quantise(row)
    fast, slow = (planner(gpu, row.dtype, load) for load in ("benchmark", "steady"))
    plan = fast.plan(gemm, around=others, warm=True)
    time = fast.time_us(gemm, plan, before=before, around=others, warm=True, engine=engine)
    late = limited_share(gpu, CALLS, time)
    if not late:
        return time
    free, limited = (
        p.time_us(gemm, plan, before=before, around=others, warm=True) for p in (fast, slow)
    )
    return time * (1 + late * (limited / free - 1))


def gemm_roofline_us(row: GemmRow) -> float:
    """The greater of useful FLOP at peak (boost clock) and compulsory bytes at peak bandwidth."""
    gpu, gemm = load_gpu(row.gpu), row.gemm
    return max(
        gemm.useful_flop / peak_flop_per_us(gpu, row.dtype),
        (gemm.a_bytes + gemm.w_bytes + gemm.c_bytes) / (gpu.hbm.peak_gb_per_s * 1e3),
    )


def peak_flop_per_us(gpu: Gpu, dtype: str) -> float:
    """Matrix FLOP per us at the boost clock on the fastest instructions."""
    paths = (gpu.tensor.mma_sync_flop_per_clock, gpu.tensor.wgmma_flop_per_clock)
    return max(path.get(dtype, 0.0) for path in paths) * gpu.sm.count * gpu.clock.boost_mhz


def _others(row: GemmRow) -> Launch:
    """What the other products of the graph bring through L2, as one launch."""
    gemm, count = row.gemm, ROTATING - 1
    reads = [once("other_w", count * gemm.w_bytes)]
    if row.framework == "sglang":
        reads.append(once("other_a", count * gemm.a_bytes))
    else:
        reads.append(once("a", gemm.a_bytes))
    size = sum(operand.unique_bytes for operand in reads)
    launch = copy_launch("others", read_bytes=size, write_bytes=gemm.c_bytes)
    return replace(launch, reads=tuple(reads), writes=(once("c", gemm.c_bytes),))


def _quantise(row: GemmRow) -> tuple[Launch, ...]:
    """FP8: a kernel that reads activations in 16 bit and writes them in 8, a CTA a token."""
    if row.dtype != "fp8":
        return ()
    quantise = copy(
        "quantise",
        row.m,
        (2 * row.k, row.k),
        names=("a_16_bit", "a"),
        threads=QUANTISE_THREADS,
        loads=QUANTISE_WALKS[row.framework],
    )
    return (quantise,)
