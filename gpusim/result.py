"""What a run says: time and why, occupancy, traffic, work. One type for both engines."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from gpusim.launch_result import LaunchResult, Sample, Span

__all__ = ["Engine", "LaunchResult", "Result", "Sample", "Span"]

Engine = Literal["sim", "analytic"]


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
            schedule takes, all values even if it samples them.
        footprint_bytes: all tensors that the launches touch, scratch included.
        energy_j: of tensor FLOP, HBM bytes and idle power only, at most the board's limit; other
            pipes, shared memory and L2 are left out.
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
    samples: tuple[Sample, ...] = field(default=(), repr=False)

    @property
    def main(self) -> LaunchResult:
        """The launch with the most matrix work; it speaks for the call's occupancy and waves."""
        return max(self.launches, key=lambda launch: (launch.issued_flop, launch.time_us))

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
        return sum(la.hbm_read_bytes + la.hbm_write_bytes for la in self.launches)

    @property
    def hbm_gb_per_s(self) -> float:
        """HBM bytes over time."""
        return self.hbm_bytes / self.time_us / 1e3

    def as_dict(self) -> dict[str, Any]:
        """The JSON form: plain dicts, lists, numbers and strings."""
        main = self.main
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
                "issued": sum(la.issued_flop for la in self.launches),
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
                "hbm_read_bytes": sum(la.hbm_read_bytes for la in self.launches),
                "hbm_write_bytes": sum(la.hbm_write_bytes for la in self.launches),
                "l2_to_sm_bytes": sum(la.l2_to_sm_bytes for la in self.launches),
                "smem_bytes": sum(la.smem_bytes_moved for la in self.launches),
                "compulsory_bytes": self.compulsory_bytes,
                "footprint_bytes": self.footprint_bytes,
            },
            "waves": main.waves,
            "energy_j": self.energy_j,
            "launches": [asdict(la) for la in self.launches],
        }
