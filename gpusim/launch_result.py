"""What a run says of one launch and of one CTA. One type for both engines."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchResult:
    """One launch of a call, or of a step of a model all launches of a kind.

    Attributes:
        gap_us: the launch gap before it.
        time_us: from its start to its last CTA's end.
        breakdown: share of the slots' time by cause; adds up to 1. 'unfilled' slots never get a
            CTA, 'tail' is idle at the end; 'cta_latency' is start, first loads and last store,
            'sync' barriers and load waits within a step, 'fix_up' waits for partial results.
        bound: the greatest of `limited_us`.
        limited_us: time on the clock by what held back the CTAs that ran: those in their main loop
            if there are any, else those that wait for partial results or merge them.
        tile: what the schedule chose: tile sizes, warps, stages, splits.
        waves: CTAs over slots.
        achieved_fraction: resident warps over the SM's maximum, averaged over the launch.
        sm_busy_fraction: SM time with at least one CTA resident.
        calls: times that it runs; every other number is of one call.
        operator: what of a model it belongs to: 'attention', 'gemm', 'norms' (with rotary
            positions, activations and routing), 'all_reduce' (all that GPUs exchange), 'head' (with
            embedding and sampling) or 'framework'.
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
    calls: int = 1
    operator: str = "attention"

    @property
    def total_us(self) -> float:
        """Time of all calls, with the gap before each."""
        return self.calls * (self.gap_us + self.time_us)


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
