"""What a run says: time and why, occupancy, traffic, work. One type for both engines."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from gpusim.launch_result import LaunchResult, Sample, Span

__all__ = ["Engine", "LaunchResult", "Result", "Sample", "Span"]

Engine = Literal["sim", "analytic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStep:
    """What a run of a whole model was of; sizes are those of one GPU.

    Attributes:
        tensor_parallel: GPUs that share the model.
        weight_bytes, kv_bytes: held by one of them.
        attention_flop, attention_bytes: useful FLOP and compulsory bytes of its attention alone.
        assumptions: what the prediction takes for granted, none of it measured.
    """

    model: str
    tensor_parallel: int
    weight_dtype: str
    kv_dtype: str
    weight_bytes: float
    kv_bytes: float
    attention_flop: float
    attention_bytes: float
    assumptions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One run: a workload, a schedule and a GPU, by one engine.

    Attributes:
        approximation: what the answer lacks against exact attention in the problem's own types:
            'sampled' (SANTA), 'lower precision' (FP8 products of 16-bit queries); else empty.
        bound: what set the pace for most of the time; steps go by the name of their slowest pipe.
        breakdown: share of the slots' time by cause, weighted by launch.
        useful_flop: of QKᵀ and PV over the allowed pairs; of PV only the rows read, if sampled.
        compulsory_bytes: Q, the keys and values seen, and O, once each, in the types that the
            schedule takes, all values even if it samples them. Of a model, what each operator
            reads and writes, once each.
        footprint_bytes: all tensors that the launches touch, scratch included; of a model its
            weights and KV cache.
        energy_j: of tensor FLOP, HBM bytes and idle power only, at most the board's limit; other
            pipes, shared memory and L2 are left out.
        step: given for a forward pass of a model. Then `breakdown` is by operator and `bound` the
            greatest of them, all numbers are of one GPU, and `energy_j` is of all that share it.
        spans, samples: when traced, every item's stay on its slot, and counters over time.
    """

    workload: str
    gpu: str
    schedule: str
    engine: Engine
    time_us: float
    bound: str
    breakdown: dict[str, float]
    useful_flop: float
    compulsory_bytes: float
    footprint_bytes: float
    energy_j: float
    launches: tuple[LaunchResult, ...]
    options: dict[str, Any] = field(default_factory=dict)
    approximation: str = ""
    spans: tuple[Span, ...] = field(default=(), repr=False)
    step: ModelStep | None = None
    samples: tuple[Sample, ...] = field(default=(), repr=False)

    @property
    def main(self) -> LaunchResult:
        """The launch with the most matrix work; it speaks for the call's occupancy and waves."""
        return max(self.launches, key=lambda la: (la.calls * la.issued_flop, la.time_us))

    @property
    def options_text(self) -> str:
        """The options in a line; of a kernel of the user's own its name says enough."""
        plain = {k: v for k, v in self.options.items() if not isinstance(v, dict)}
        return " ".join(f"{k}={v}" for k, v in plain.items())

    @property
    def label(self) -> str:
        """The schedule with its options."""
        return f"{self.schedule} {self.options_text}".rstrip()

    @property
    def tflops(self) -> float:
        """Useful TFLOP/s."""
        return self.useful_flop / self.time_us / 1e6

    @property
    def hbm_bytes(self) -> float:
        """Bytes over the HBM bus, both ways."""
        return self.total("hbm_read_bytes") + self.total("hbm_write_bytes")

    @property
    def hbm_gb_per_s(self) -> float:
        """HBM bytes over time."""
        return self.hbm_bytes / self.time_us / 1e3

    def total(self, field: str) -> float:
        """Sum of a number of the launches over all their calls."""
        return float(sum(la.calls * getattr(la, field) for la in self.launches))

    def as_dict(self) -> dict[str, Any]:
        """The JSON form: plain dicts, lists, numbers and strings."""
        return self.totals() | {"launches": [asdict(la) for la in self.launches]}

    def totals(self) -> dict[str, Any]:
        """The JSON form without the launches."""
        main = self.main
        step = {} if self.step is None else _step_dict(self.step)
        return {
            "workload": self.workload,
            "gpu": self.gpu,
            "schedule": self.schedule,
            "options": self.options,
            "engine": self.engine,
            "approximation": self.approximation,
            "time_us": self.time_us,
            "bound": self.bound,
            "breakdown": self.breakdown,
            "tflops": self.tflops,
            "hbm_gb_per_s": self.hbm_gb_per_s,
            "flop": {
                "useful": self.useful_flop,
                "issued": self.total("issued_flop"),
            },
            "occupancy": {
                "ctas_per_sm": main.ctas_per_sm,
                "warps_per_sm": main.warps_per_sm,
                "fraction": main.occupancy_fraction,
                "limiter": main.limiter,
                "achieved_fraction": main.achieved_fraction,
                "sm_busy_fraction": main.sm_busy_fraction,
            },
            "traffic": {
                "hbm_read_bytes": self.total("hbm_read_bytes"),
                "hbm_write_bytes": self.total("hbm_write_bytes"),
                "l2_to_sm_bytes": self.total("l2_to_sm_bytes"),
                "smem_bytes": self.total("smem_bytes_moved"),
                "compulsory_bytes": self.compulsory_bytes,
                "footprint_bytes": self.footprint_bytes,
            },
            "waves": main.waves,
            "energy_j": self.energy_j,
            **step,
        }


def _step_dict(step: ModelStep) -> dict[str, Any]:
    """What the JSON form has more for a model."""
    fields = asdict(step)
    assumptions = list(fields.pop("assumptions"))
    return {"model": fields, "assumptions": assumptions}
