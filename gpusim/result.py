"""What a run says: time and why, occupancy, traffic, work. One type for both engines."""

from dataclasses import dataclass, field
from typing import Any, Literal

Engine = Literal["sim", "analytic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchResult:
    """One launch of a call.

    Attributes:
        gap_us: the launch gap before it.
        time_us: from its start to its last CTA's end.
        breakdown: share of the slots' time by cause; adds up to 1. 'unfilled' slots never get a
            CTA, 'tail' is idle at the end; 'cta_latency' is start, first loads and last store,
            'sync' barriers and load waits within a step, 'fix_up' waits for partial results.
        bound: the greatest of `limited_us`.
        limited_us: time on the clock by what held back the CTAs that ran.
        tile: what the schedule chose: tile sizes, warps, stages, splits.
        waves: CTAs over slots.
        achieved_fraction: resident warps over the SM's maximum, averaged over the launch.
        sm_busy_fraction: SM time with at least one CTA resident.
    """

    name: str
    ctas: int
    threads: int
    registers: int
    smem_bytes: int
    ctas_per_sm: int
    warps_per_sm: int
    occupancy_fraction: float
    limiter: str
    gap_us: float
    time_us: float
    bound: str
    breakdown: dict[str, float]
    limited_us: dict[str, float]
    tile: dict[str, int]
    waves: float
    achieved_fraction: float
    sm_busy_fraction: float
    issued_flop: float
    hbm_read_bytes: float
    hbm_write_bytes: float
    l2_to_sm_bytes: float
    smem_bytes_moved: float
    pipe_utilisation: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One CTA's stay on a slot, for a timeline. Times in us from the start of the call."""

    launch: int
    sm: int
    slot: int
    item: int
    start_us: float
    loop_us: float
    end_us: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One run: a workload, a schedule and a GPU, by one engine.

    Attributes:
        bound: what held the GPU back for most of the time.
        breakdown: share of the slots' time by cause, weighted by launch.
        compulsory_bytes: Q, the keys and values seen, and O, once each.
        footprint_bytes: all tensors that the launches touch, scratch included.
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
    spans: tuple[Span, ...] = field(default=(), repr=False)

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
            "launches": [_launch_dict(la) for la in self.launches],
        }


def _launch_dict(launch: LaunchResult) -> dict[str, Any]:
    return {name: getattr(launch, name) for name in LaunchResult.__dataclass_fields__}
