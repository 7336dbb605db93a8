"""What one run of a replica leaves: times of each request, and what the replica did on average."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Equal steps in a row: who ran in them.

    Attributes:
        count: steps; `batch` decodes ran in each, with `decode_kv_tokens` cached tokens in all, on
            average over the steps.
        prefill_tokens: new prompt tokens of each step; they end at a context of
            `prefill_kv_tokens`.
        pages: share of the KV pages that are taken.
        waiting_for: what keeps the head of the queue out: '' (nobody waits), 'kv_capacity',
            'max_sequences' or 'chunk_tokens'.
    """

    count: int
    batch: int
    decode_kv_tokens: float
    prefill_tokens: int
    prefill_kv_tokens: int
    pages: float
    waiting_for: str


WAITING_FOR = ("kv_capacity", "max_sequences", "chunk_tokens")


@dataclass(slots=True)
class Meter:
    """Adds up what a replica does within a window of time (us)."""

    start_us: float
    end_us: float
    busy_us: float = 0.0
    steps: float = 0.0
    batch_us: float = 0.0
    largest_batch: int = 0
    pages_us: float = 0.0
    decode_tokens: float = 0.0
    decode_kv_tokens: float = 0.0
    prefill_tokens: float = 0.0
    prefill_pairs: float = 0.0
    waited_us: dict[str, float] = field(default_factory=lambda: dict.fromkeys(WAITING_FOR, 0.0))

    @property
    def window_us(self) -> float:
        """Length of the window."""
        return self.end_us - self.start_us

    def add(self, start_us: float, end_us: float, steps: Steps) -> None:
        """Add steps from start to end; of those at the window's ends only the share within."""
        self.largest_batch = max(self.largest_batch, steps.batch)
        within = min(end_us, self.end_us) - max(start_us, self.start_us)
        if within <= 0:
            return
        share = within / (end_us - start_us)
        count = share * steps.count
        self.busy_us += within
        self.steps += count
        self.batch_us += within * steps.batch
        self.pages_us += within * steps.pages
        self.decode_tokens += count * steps.batch
        self.decode_kv_tokens += count * steps.decode_kv_tokens
        self.prefill_tokens += count * steps.prefill_tokens
        mean_context = steps.prefill_kv_tokens - steps.prefill_tokens / 2
        self.prefill_pairs += count * steps.prefill_tokens * mean_context
        if steps.waiting_for:
            self.waited_us[steps.waiting_for] += within


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ServingRun:
    """One replica's run over all requests.

    Attributes:
        arrival_us, first_us, done_us: when each request came, got its first and its last token.
        output_tokens: of each request.
        preemptions: evictions from the cache, each recomputed later.
        events: times that the replica decided what runs next.
        in_system_us: integral over time of the number of requests that have come and are not done.
        meter: averages from `first_counted` (a request's index) to the last arrival.
    """

    arrival_us: NDArray[np.float64]
    first_us: NDArray[np.float64]
    done_us: NDArray[np.float64]
    output_tokens: NDArray[np.int64]
    preemptions: int
    events: int
    in_system_us: float
    first_counted: int
    meter: Meter

    @property
    def ttft_us(self) -> NDArray[np.float64]:
        """Times from arrival to the first token."""
        return self.first_us - self.arrival_us

    @property
    def tpot_us(self) -> NDArray[np.float64]:
        """Times per token after the first; 0 for requests of one token."""
        rest = self.output_tokens - 1
        tpot: NDArray[np.float64] = (self.done_us - self.first_us) / np.maximum(rest, 1)
        return tpot
