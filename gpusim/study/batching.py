"""Continuous batching with chunked prefill: who runs in the next step of a replica.

The policy is that of vLLM's V1 scheduler, first come first served
(`vllm/v1/core/sched/scheduler.py` with `scheduler_reserve_full_isl`, its default). A step has a
budget of tokens. Running decodes take one each; prompts that have begun go on; then waiting
requests are admitted, while there is budget, room for a sequence, and pages for the whole prompt.
When decodes find no free page, the sequence that was admitted last loses all its pages and waits at
the head of the queue; its prompt and what it has generated are then computed again.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import NamedTuple

from gpusim.study.kv_pages import KvPages
from gpusim.study.serving_log import Steps

#: Steps in a row are merged while the cached tokens grow by this share at most.
MERGED_GROWTH = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaLimits:
    """What a replica may run at once: sequences, tokens of a step, pages of the KV cache."""

    max_sequences: int
    chunk_tokens: int
    page_size: int
    kv_pages: int


class _Decode(NamedTuple):
    """A sequence that decodes: since which step, and its cached and emitted tokens then."""

    since: int
    cached: int
    emitted: int


@dataclass(slots=True)
class _Prefill:
    """A request whose context is being computed: prompt, and what it had emitted before."""

    request: int
    context: int
    done: int = 0


class Batching:
    """The state of a replica between steps, without a clock.

    Attributes:
        waiting: requests that are not admitted, in order.
        preemptions: evictions so far.
    """

    def __init__(
        self, prompts: Sequence[int], outputs: Sequence[int], limits: ReplicaLimits
    ) -> None:
        self.waiting: deque[int] = deque()
        self.preemptions = 0
        self._prompts, self._outputs, self._limits = prompts, outputs, limits
        self._emitted = [0] * len(prompts)
        self._pages = KvPages(limits.kv_pages, limits.page_size)
        self._admitted: dict[int, None] = {}  # in order of admission
        self._prefills: deque[_Prefill] = deque()
        self._chunks: list[tuple[_Prefill, int]] = []
        self._decodes: dict[int, _Decode] = {}
        self._ends: list[tuple[int, int, int]] = []  # (end step, request, since), stale ones too
        self._cached = 0  # tokens of all decodes before the next step
        self._step = 0

    @property
    def open_to_arrivals(self) -> bool:
        """Whether a request that comes now may be admitted at the next step."""
        return not self.waiting and len(self._admitted) < self._limits.max_sequences

    @property
    def free_pages(self) -> int:
        """Pages that nobody has."""
        return self._pages.free

    def plan(self, *, merge: bool = True) -> Steps | None:
        """Decide the next step, or equal steps in a row; None if there is nothing to run."""
        preempted = self._make_room()
        budget = self._limits.chunk_tokens - len(self._decodes)
        self._chunks = []
        for prefill in self._prefills:
            budget -= self._take(prefill, budget)
        reason = "kv_capacity" if preempted else self._admit(budget)
        tokens = sum(taken for _, taken in self._chunks)
        if not self._decodes and not tokens:
            return None
        batch = len(self._decodes)
        count = 1 if tokens or not merge else self._equal_steps()
        return Steps(
            count=count,
            batch=batch,
            decode_kv_tokens=self._cached + batch + batch * (count - 1) / 2,
            prefill_tokens=tokens,
            prefill_kv_tokens=self._context_of_chunks(tokens),
            pages=1 - self._pages.free / self._pages.total,
            waiting_for=reason if self.waiting else "",
        )

    def advance(self, count: int) -> tuple[list[int], list[int]]:
        """Run `count` of the planned steps: requests that got their first token, and their last."""
        self._pages.free -= self._pages.growth(self._step, count)
        self._step += count
        self._cached += count * len(self._decodes)
        done = self._end_decodes()
        first = []
        for prefill, taken in self._chunks:
            prefill.done += taken
            if prefill.done < prefill.context:
                continue
            self._prefills.remove(prefill)
            if not self._emitted[prefill.request]:
                first.append(prefill.request)
            if self._start_decode(prefill):
                done.append(prefill.request)
        return first, done

    def _take(self, prefill: _Prefill, budget: int) -> int:
        taken = min(budget, prefill.context - prefill.done)
        if taken > 0:
            self._chunks.append((prefill, taken))
        return max(0, taken)

    def _admit(self, budget: int) -> str:
        """Admit from the head of the queue; say what keeps the next one out."""
        reserved = self._pages.growth(self._step, 1)
        while self.waiting:
            if len(self._admitted) >= self._limits.max_sequences:
                return "max_sequences"
            if budget <= 0:
                return "chunk_tokens"
            request = self.waiting[0]
            context = self._prompts[request] + self._emitted[request]
            pages = self._pages.needed(context)
            if pages > self._pages.free - reserved:
                return "kv_capacity"
            self.waiting.popleft()
            self._pages.free -= pages
            self._admitted[request] = None
            prefill = _Prefill(request, context)
            self._prefills.append(prefill)
            budget -= self._take(prefill, budget)
        return ""

    def _make_room(self) -> bool:
        """Evict, last admitted first, until the next step's decodes have their pages."""
        evicted = False
        while self._pages.growth(self._step, 1) > self._pages.free:
            request = next(reversed(self._admitted))
            del self._admitted[request]
            decode = self._decodes.pop(request, None)
            if decode is None:
                prefill = next(p for p in self._prefills if p.request == request)
                self._prefills.remove(prefill)
                self._pages.free += self._pages.needed(prefill.context)
            else:
                self._emitted[request] = decode.emitted + self._step - decode.since
                self._leave(decode)
            self.waiting.appendleft(request)
            self.preemptions += 1
            evicted = True
        return evicted

    def _equal_steps(self) -> int:
        """Decode steps until somebody ends, pages run out, or the cache has grown a lot."""
        while True:
            end, request, since = self._ends[0]
            decode = self._decodes.get(request)
            if decode is not None and decode.since == since:
                break
            heappop(self._ends)  # of a sequence that was evicted
        grown = int(MERGED_GROWTH * self._cached / len(self._decodes))
        return self._pages.steps_left(self._step, max(1, min(end - self._step, grown)))

    def _start_decode(self, prefill: _Prefill) -> bool:
        """The last chunk gives the next token; return whether that was the last one."""
        request = prefill.request
        self._emitted[request] += 1
        rest = self._outputs[request] - self._emitted[request]
        if rest == 0:
            del self._admitted[request]
            self._pages.free += self._pages.needed(prefill.context)
            return True
        self._decodes[request] = _Decode(self._step, prefill.context, self._emitted[request])
        heappush(self._ends, (self._step + rest, request, self._step))
        self._pages.start_decode(prefill.context, self._step)
        self._cached += prefill.context
        return False

    def _end_decodes(self) -> list[int]:
        done = []
        while self._ends and self._ends[0][0] <= self._step:
            _, request, since = heappop(self._ends)
            decode = self._decodes.get(request)
            if decode is None or decode.since != since:
                continue
            del self._decodes[request]
            del self._admitted[request]
            self._leave(decode)
            done.append(request)
        return done

    def _leave(self, decode: _Decode) -> None:
        """Give back what a sequence has cached by now."""
        cached = decode.cached + self._step - decode.since
        self._pages.end_decode(cached, self._step)
        self._pages.free += self._pages.needed(cached)
        self._cached -= cached

    def _context_of_chunks(self, tokens: int) -> int:
        """Where one chunk of so many tokens would end that has as many (query, key) pairs."""
        if not tokens:
            return 0
        pairs = sum(taken * (p.done + taken / 2) for p, taken in self._chunks)
        return round(pairs / tokens + tokens / 2)
