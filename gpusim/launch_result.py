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
        clock_mhz: SM clock that it runs at.
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
    clock_mhz: float = 0.0
    calls: int = 1
    operator: str = "attention"

    @property
    def total_us(self) -> float:
        """Time of all calls, with the gap before each."""
        return self.calls * (self.gap_us + self.time_us)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One work item's stay on a slot, for a timeline. Times in us from the start of the call.

    The model knows the start, the entry into the main loop (after the latency of the CTA), the
    loop's end, and what follows of waits for peers and their merging. The transfers of Q and O are
    parts of the loop's work there, at the pace of the loop; by convention they are drawn as its
    beginning and end, by their share of that work. The latency stands in front as a whole, though
    it includes the last store's.

    Attributes:
        launch: index of the launch in the call.
        sm, slot: where; slots of an SM count from 0.
        item: its number in the order of the work.
        steps: main-loop steps it makes.
        start_us: the slot takes it.
        loop_us: it enters the main loop.
        steps_us: Q is there, and the first step begins.
        store_us: the last step is done, and O leaves.
        wait_us: from here on it waits for peers' results and merges them.
        end_us: the slot is free.
    """

    launch: int
    sm: int
    slot: int
    item: int
    steps: float
    start_us: float
    loop_us: float
    steps_us: float
    store_us: float
    wait_us: float
    end_us: float

    @property
    def phases(self) -> tuple[tuple[str, float, float], ...]:
        """Name, start and end (us) of each phase, in order; some may be empty."""
        return (
            ("prologue", self.start_us, self.steps_us),
            ("steps", self.steps_us, self.store_us),
            ("epilogue", self.store_us, self.wait_us),
            ("wait", self.wait_us, self.end_us),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Means over a stretch of a launch, for the counters of a timeline.

    Attributes:
        launch: index of the launch in the call.
        start_us, end_us: the stretch, from the start of the call.
        hbm_bytes_per_us, l2_bytes_per_us: what flows; of L2, bytes to and from SMs.
        ctas: CTAs resident.
        loop_ctas: those in their main loop.
    """

    launch: int
    start_us: float
    end_us: float
    hbm_bytes_per_us: float
    l2_bytes_per_us: float
    ctas: float
    loop_ctas: float
