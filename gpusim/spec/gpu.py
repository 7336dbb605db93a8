"""A GPU as the model sees it: limits, rates, capacities and costs, every one with its source.

Rates are per SM and per SM clock unless the key says otherwise. In `hardware/*.yaml` each number is
written `{value: ..., kind: ..., source: ...}`; `gpusim.spec.load` keeps the kind and source apart
in `Gpu.provenance`, so that code reads plain numbers.
"""

from enum import StrEnum
from functools import reduce
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from gpusim.errors import nearest

#: Numbers beyond these limits are taken for mistakes; within them no prediction overflows.
SMALLEST, LARGEST = 1e-3, 1e6
MAX_COUNT = 2**24
MATRIX_TYPES = ("fp16", "bf16", "fp8", "tf32", "int8")


def _of_matrix_types(rates: dict[str, float]) -> dict[str, float]:
    for name in rates:
        if name not in MATRIX_TYPES:
            hint = nearest(name, MATRIX_TYPES) or f"; known: {', '.join(MATRIX_TYPES)}"
            raise ValueError(f"{name}: expected a data type{hint}")
    return rates


Positive = Annotated[float, Field(strict=True, ge=SMALLEST, le=LARGEST, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(strict=True, ge=0, le=LARGEST, allow_inf_nan=False)]
Fraction = Annotated[float, Field(strict=True, ge=SMALLEST, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(strict=True, ge=1, le=MAX_COUNT)]
Rates = Annotated[
    dict[str, Positive],
    AfterValidator(_of_matrix_types),
    Field(json_schema_extra={"propertyNames": {"enum": list(MATRIX_TYPES)}}),
]


class Kind(StrEnum):
    """Where a number comes from, most trusted first."""

    DATASHEET = "datasheet"
    MEASURED = "measured"
    CALIBRATED = "calibrated"
    ESTIMATED = "estimated"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class Provenance(_Frozen):
    """Kind and source of one number."""

    kind: Kind
    source: Annotated[str, Field(min_length=3)]


class Sm(_Frozen):
    """Per-SM limits that decide occupancy (NVIDIA's `cuda_occupancy.h`)."""

    count: Annotated[Count, Field(le=4096)]
    max_threads: Annotated[Count, Field(ge=32)]
    max_ctas: Count
    max_threads_per_cta: Count
    registers: Count
    register_unit: Count = Field(description="registers are given to a warp in multiples of this")
    max_registers_per_thread: Count
    sub_partitions: Count
    smem_bytes: Count = Field(description="largest shared-memory carve-out of an SM")
    max_smem_per_cta_bytes: Count = Field(description="opt-in limit of one CTA")
    reserved_smem_per_cta_bytes: Annotated[int, Field(strict=True, ge=0, le=MAX_COUNT)]
    smem_unit_bytes: Count


class Clock(_Frozen):
    """SM clocks by load: boost alone, in a short benchmark, and in steady service."""

    boost_mhz: Positive
    benchmark_mhz: Positive = Field(description="all SMs busy, before the power limit acts")
    steady_mhz: Positive = Field(description="all SMs busy, power limit acting")
    power_limit_delay_s: NotNegative = Field(description="continuous load before the limit acts")


class Tensor(_Frozen):
    """Dense matrix rates by instruction path and data type, in FLOP per clock per SM (MAC = 2)."""

    mma_sync_flop_per_clock: Rates
    mma_sync_achieved_fraction: Fraction = Field(description="share of that rate kernels reach")
    wgmma_flop_per_clock: Rates = Field(default_factory=dict)


class Pipes(_Frozen):
    """CUDA-core and shared-memory rates, in results (or bytes) per clock per SM."""

    exp2_per_clock: Positive
    fp32_per_clock: Positive
    convert_per_clock: Positive
    shuffle_per_clock: Positive
    issue_warps_per_clock: Positive
    smem_bytes_per_clock: Positive


class L2(_Frozen):
    """The L2 cache. Reuse within `hit_mib` hits; beyond `miss_mib` it misses."""

    capacity_mib: Positive
    hit_mib: Positive
    miss_mib: Positive
    bytes_per_clock: Positive = Field(description="sustained by all SMs together")
    port_bytes_per_clock_per_sm: Positive = Field(description="what one SM can take at most")
    latency_clocks: Positive

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.miss_mib <= self.hit_mib:
            raise ValueError(
                f"miss_mib: expected more than hit_mib ({self.hit_mib:g}), found {self.miss_mib:g}"
            )
        return self


class Hbm(_Frozen):
    """Device memory."""

    capacity_gb: Positive
    peak_gb_per_s: Positive
    sustained_gb_per_s: Positive
    latency_ns: Positive
    sector_bytes: Count


class LaunchCost(_Frozen):
    """What a kernel launch costs beside the kernel's own work."""

    stream_us: NotNegative = Field(description="per kernel, launched one by one into a stream")
    graph_us: NotNegative = Field(description="per kernel, in a CUDA-graph replay")
    shortest_kernel_us: NotNegative = Field(description="duration of an empty kernel")


class Cta(_Frozen):
    """Time a CTA spends outside its main loop."""

    latency_ns: NotNegative = Field(description="start, first loads and last store of one CTA")
    sync_clocks: NotNegative = Field(description="barriers and load waits of one main-loop step")


class Overlap(_Frozen):
    """How much work of different pipes really hides behind each other."""

    softmax_exposed_fraction: Fraction = Field(
        description="CUDA-core time of a step that its own tensor work does not hide, in one track"
    )
    tracks_exposed_fraction: Fraction = Field(
        description="the same between several groups of warps that run freely"
    )
    ping_pong_exposed_fraction: Fraction = Field(
        description="the same between groups of warps that take turns at the tensor cores"
    )
    co_resident_gain: Annotated[
        float, Field(strict=True, ge=1, le=LARGEST, allow_inf_nan=False)
    ] = Field(description="SM throughput with several CTAs over the pipe time of one, waits apart")


class Power(_Frozen):
    """Board power and energies per unit of work."""

    tdp_w: Positive
    idle_w: NotNegative
    hbm_pj_per_byte: NotNegative
    tensor_pj_per_flop: NotNegative


class Price(_Frozen):
    """Rent on demand; the source carries the date."""

    usd_per_hour: Positive


class Link(_Frozen):
    """Bandwidth to other devices, one direction."""

    nvlink_gb_per_s: NotNegative
    pcie_gb_per_s: Positive


class Gpu(_Frozen):
    """One GPU profile: frozen numbers, and where each comes from."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    description: str
    architecture: Literal["sm_80", "sm_86", "sm_89", "sm_90"]
    sm: Sm
    clock: Clock
    tensor: Tensor
    pipes: Pipes
    l2: L2
    hbm: Hbm
    launch: LaunchCost
    cta: Cta
    overlap: Overlap
    power: Power
    price: Price
    link: Link
    provenance: dict[str, Provenance] = Field(default_factory=dict, repr=False)

    @property
    def max_warps(self) -> int:
        """Warps that one SM can hold."""
        return self.sm.max_threads // 32

    def numbers(self) -> list[dict[str, Any]]:
        """Every number of the profile: its field, value, kind and source."""
        values = self.model_dump(exclude={"provenance"})
        return [
            {
                "field": field,
                "value": reduce(lambda node, key: node[key], field.split("."), values),
                "kind": origin.kind.value,
                "source": origin.source,
            }
            for field, origin in self.provenance.items()
        ]

    def clock_hz(self, load: str | float) -> float:
        """SM clock for a load: 'benchmark', 'steady', or seconds of continuous load."""
        if isinstance(load, str):
            mhz = self.clock.benchmark_mhz if load == "benchmark" else self.clock.steady_mhz
        else:
            limited = load > self.clock.power_limit_delay_s
            mhz = self.clock.steady_mhz if limited else self.clock.benchmark_mhz
        return mhz * 1e6
