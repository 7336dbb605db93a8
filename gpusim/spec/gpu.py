"""A GPU as the model sees it: limits, rates, capacities and costs, every one with its source.

Rates are per SM and per SM clock unless the key says otherwise. In `hardware/*.yaml` each number is
written `{value: ..., kind: ..., source: ...}`; `gpusim.spec.load` keeps all but the value apart
in `Gpu.provenance`, so that code reads plain numbers.
"""

from collections.abc import Mapping
from functools import reduce
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from gpusim.errors import nearest
from gpusim.spec.provenance import LARGEST, SMALLEST, Frozen, NotNegative, Positive, Provenance
from gpusim.spec.validate import validate

MAX_COUNT = 2**24
#: GPUs of one node, the most that share a layer.
MAX_NODE_GPUS = 8
MATRIX_TYPES = ("fp16", "bf16", "fp8", "tf32", "int8")


def _of_matrix_types(rates: dict[str, float]) -> dict[str, float]:
    for name in rates:
        if name not in MATRIX_TYPES:
            hint = nearest(name, MATRIX_TYPES) or f"; known: {', '.join(MATRIX_TYPES)}"
            raise ValueError(f"{name}: expected a data type{hint}")
    return rates


Fraction = Annotated[float, Field(strict=True, ge=SMALLEST, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(strict=True, ge=1, le=MAX_COUNT)]
Rates = Annotated[
    dict[str, Positive],
    AfterValidator(_of_matrix_types),
    Field(json_schema_extra={"propertyNames": {"enum": list(MATRIX_TYPES)}}),
]


class Sm(Frozen):
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


class Clock(Frozen):
    """SM clocks by load: boost alone, in a short benchmark, and in steady service."""

    boost_mhz: Positive
    benchmark_mhz: Positive = Field(description="all SMs busy, before the power limit acts")
    steady_mhz: Positive = Field(description="all SMs busy, power limit acting")
    power_limit_delay_s: NotNegative = Field(description="continuous load before the limit acts")


class Tensor(Frozen):
    """Dense matrix rates by instruction path and data type, in FLOP per clock per SM (MAC = 2)."""

    mma_sync_flop_per_clock: Rates
    mma_sync_achieved_fraction: Fraction = Field(description="share of that rate kernels reach")
    wgmma_flop_per_clock: Rates = Field(default_factory=dict)


class Pipes(Frozen):
    """CUDA-core and shared-memory rates, in results (or bytes) per clock per SM."""

    exp2_per_clock: Positive
    fp32_per_clock: Positive
    convert_per_clock: Positive
    shuffle_per_clock: Positive
    issue_warps_per_clock: Positive
    smem_bytes_per_clock: Positive


class L2(Frozen):
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


class Hbm(Frozen):
    """Device memory."""

    capacity_gb: Positive = Field(description="what programs can have of it")
    peak_gb_per_s: Positive
    sustained_gb_per_s: Positive
    latency_ns: Positive
    sector_bytes: Count


class LaunchCost(Frozen):
    """What a kernel launch costs beside the kernel's own work."""

    stream_us: NotNegative = Field(description="per kernel, launched one by one into a stream")
    graph_us: NotNegative = Field(description="per kernel, in a CUDA-graph replay")
    shortest_kernel_us: NotNegative = Field(description="duration of an empty kernel")


class Cta(Frozen):
    """Time a CTA spends outside its main loop."""

    latency_ns: NotNegative = Field(description="start, first loads and last store of one CTA")
    sync_clocks: NotNegative = Field(description="barriers and load waits of one main-loop step")


class Overlap(Frozen):
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


class Gemm(Frozen):
    """What dense matrix products meet in the place of attention's numbers; the rest is the same."""

    hbm_gb_per_s: Positive = Field(description="what kernels sustain that stream weights")
    steady_mhz: Positive = Field(description="SM clock of long runs, power limit acting")
    sync_clocks: NotNegative = Field(description="barrier and load wait of one K slice, mma.sync")


class Power(Frozen):
    """Board power and energies per unit of work."""

    tdp_w: Positive
    idle_w: NotNegative
    hbm_pj_per_byte: NotNegative
    tensor_pj_per_flop: NotNegative


class Price(Frozen):
    """Rent on demand; the source carries the date."""

    usd_per_hour: Positive


class Link(Frozen):
    """Ways to other GPUs of the same node (`gpusim.machine.all_reduce`). Bandwidths: one direction.

    Up to `nvlink_gpus` reach one another over NVLink; more, or all if it is 1, over PCIe.
    """

    nvlink_gb_per_s: NotNegative
    pcie_gb_per_s: Positive
    nvlink_gpus: Annotated[Count, Field(le=64)]
    achieved_fraction: Fraction = Field(description="share of a link's rate that reductions reach")
    stage_us: NotNegative = Field(description="a kernel that reads its peer, or a stage of one")
    peer_us: NotNegative = Field(description="the same, for each further peer")
    ring_us: NotNegative = Field(description="a ring of GPUs (NCCL), beside its steps")
    ring_step_us: NotNegative = Field(description="each step of the ring")
    switch_gb_per_s: NotNegative = Field(description="what a switch that reduces takes from each")
    host_gb_per_s: NotNegative = Field(
        description="what the host passes for more than two GPUs on PCIe together"
    )

    @model_validator(mode="after")
    def _check_host(self) -> Self:
        if self.nvlink_gpus < MAX_NODE_GPUS and not self.host_gb_per_s:
            raise ValueError(
                f"host_gb_per_s: expected more than 0 where NVLink joins fewer than {MAX_NODE_GPUS}"
                f" GPUs ({self.nvlink_gpus}), found {self.host_gb_per_s:g}"
            )
        return self


class Gpu(Frozen):
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
    gemm: Gemm | None = None
    power: Power
    price: Price
    link: Link
    provenance: dict[str, Provenance] = Field(default_factory=dict, repr=False)

    @property
    def max_warps(self) -> int:
        """Warps that one SM can hold."""
        return self.sm.max_threads // 32

    @model_validator(mode="after")
    def _check_origins(self) -> Self:
        for field, origin in self.provenance.items():
            try:
                origin.check(self.value(field))
            except ValueError as error:
                raise ValueError(f"{field}.{error}") from error
        return self

    def value(self, field: str) -> float:
        """The number of a field, such as `clock.steady_mhz`."""
        node: Any = self
        number: float = reduce(_child, field.split("."), node)
        return number

    def numbers(self) -> list[dict[str, Any]]:
        """Every number: field, value, kind, source; and what a calibration needs, if it has it."""
        rows = []
        for field, origin in self.provenance.items():
            row = {"field": field, "value": self.value(field)}
            row |= origin.model_dump(mode="json", exclude={"bounds"}, exclude_none=True)
            if origin.bounds:
                row["bounds"] = dict(zip(("low", "high"), origin.bounds, strict=True))
            rows.append(row)
        return rows

    def uncalibrated(self) -> "Gpu":
        """The profile by data sheets and microbenchmarks: nominal numbers in the place of values.

        Raises:
            SpecError: for a nominal number that its field cannot have.
        """
        found = {field: origin.nominal for field, origin in self.provenance.items()}
        nominals = {field: nominal for field, nominal in found.items() if nominal is not None}
        origins = {
            field: Provenance(
                kind=nominal.kind, source=nominal.source, bounds=self.provenance[field].bounds
            )
            for field, nominal in nominals.items()
        }
        return self.replaced({field: n.value for field, n in nominals.items()}, origins)

    def replaced(
        self, numbers: Mapping[str, float], origins: Mapping[str, Provenance] | None = None
    ) -> "Gpu":
        """The profile with other numbers by field, and with other origins of some.

        Raises:
            SpecError: for a number that its field cannot have.
        """
        values = self.model_dump(exclude={"provenance"})
        for field, number in numbers.items():
            *path, key = field.split(".")
            reduce(_child, path, values)[key] = number
        values["provenance"] = self.provenance | dict(origins or {})
        return validate(Gpu, values, self.name)

    def clock_hz(self, load: str | float) -> float:
        """SM clock for a load: 'benchmark', 'steady', or seconds of continuous load."""
        if isinstance(load, str):
            mhz = self.clock.benchmark_mhz if load == "benchmark" else self.clock.steady_mhz
        else:
            limited = load > self.clock.power_limit_delay_s
            mhz = self.clock.steady_mhz if limited else self.clock.benchmark_mhz
        return mhz * 1e6


def _child(node: Any, key: str) -> Any:
    return node[key] if isinstance(node, Mapping) else getattr(node, key)
