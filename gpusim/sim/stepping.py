"""CTAs in their main loop: they share the pipes of their SM, and the bandwidth of L2 and HBM."""

from collections.abc import Callable
from heapq import heappop, heappush

from simpy import Environment, Event

#: Completions closer than this share of a step are taken as one instant; below float noise of a run.
SAME_INSTANT = 1e-9


class Stepping:
    """Rate-sharing of all CTAs of a launch that are in their main loop.

    On an SM with n such CTAs each makes `rate[n]` steps per us. Over the whole GPU, all of them slow
    down by one factor when what they ask of HBM or L2 exceeds its bandwidth:

        scale = min(1, HBM bandwidth / Σ rate·HBM bytes a step, L2 bandwidth / Σ rate·L2 bytes a step)

    Since that factor is common, progress is kept in a virtual time that runs `scale` times as fast as
    the clock: a CTA's end is fixed in virtual time until its own SM changes, whatever the others do,
    and only the earliest end needs an event.
    """

    def __init__(
        self,
        env: Environment,
        num_sms: int,
        rate: list[float],
        hbm_bandwidth: float,
        l2_bandwidth: float,
    ) -> None:
        self.env = env
        self.saturated_us = {"hbm": 0.0, "l2": 0.0}
        self.resident_us = 0.0
        self._rate = rate
        self._bandwidths = (hbm_bandwidth, l2_bandwidth)
        # per SM: residents as [target progress, order, hbm a step, l2 a step, event], progress made, when
        self._residents: list[list[tuple[float, int, float, float, Event]]] = [
            [] for _ in range(num_sms)
        ]
        self._progress = [0.0] * num_sms
        self._touched = [0.0] * num_sms
        self._version = [0] * num_sms
        self._ends: list[tuple[float, int, int]] = []
        self._hbm = self._l2 = 0.0
        self._count = self._order = 0
        self._virtual = self._now = 0.0
        self._scale = 1.0
        self._armed: Event | None = None
        self._armed_at = -1.0
        self._wake_callback: Callable[[Event], None] = self._wake

    def begin(self, sm: int, steps: float, hbm_bytes: float, l2_bytes: float) -> Event:
        """Start a CTA's main loop; the event succeeds when its steps are done."""
        event = Event(self.env)
        self._advance()
        self._order += 1
        residents = self._residents[sm]
        self._settle(sm, len(residents))
        entry = (self._progress[sm] + steps, self._order, hbm_bytes / steps, l2_bytes / steps, event)
        self._change(sm, residents, entry, None)
        self._rearm()
        return event

    def _advance(self) -> None:
        """Bring virtual time, and the books of saturation, up to the clock."""
        now = self.env.now
        elapsed = now - self._now
        if elapsed > 0.0:
            scale = self._scale
            self._virtual += elapsed * scale
            self._now = now
            stay = elapsed * self._count
            self.resident_us += stay
            if scale < 1.0:
                hbm, l2 = self._bandwidths
                level = "hbm" if self._hbm * l2 >= self._l2 * hbm else "l2"
                self.saturated_us[level] += stay

    def _settle(self, sm: int, n: int) -> None:
        """Bring one SM's progress up to virtual time."""
        if n:
            self._progress[sm] += (self._virtual - self._touched[sm]) * self._rate[n]
        else:
            self._progress[sm] = 0.0
        self._touched[sm] = self._virtual

    def _change(
        self,
        sm: int,
        residents: list[tuple[float, int, float, float, Event]],
        added: tuple[float, int, float, float, Event] | None,
        removed: tuple[float, int, float, float, Event] | None,
    ) -> None:
        """Add or remove a CTA of an SM; its demand and the time of its next end follow."""
        rate = self._rate
        old = rate[len(residents)]
        for entry in residents:
            self._hbm -= old * entry[2]
            self._l2 -= old * entry[3]
        if added is not None:
            residents.append(added)
            self._count += 1
        else:
            assert removed is not None  # callers give one of the two
            residents.remove(removed)
            self._count -= 1
        n = len(residents)
        self._version[sm] += 1
        if n:
            new = rate[n]
            for entry in residents:
                self._hbm += new * entry[2]
                self._l2 += new * entry[3]
            first = min(residents)[0] if n > 1 else residents[0][0]
            end = self._virtual + (first - self._progress[sm]) / new
            heappush(self._ends, (end, sm, self._version[sm]))
        if not self._count:  # no rounding carries over an idle moment
            self._hbm = self._l2 = 0.0

    def _rearm(self) -> None:
        """Set the one timer to the earliest end."""
        hbm, l2 = self._bandwidths
        load = max(self._hbm / hbm, self._l2 / l2)
        scale = 1.0 / load if load > 1.0 else 1.0
        ends, version = self._ends, self._version
        while ends and version[ends[0][1]] != ends[0][2]:
            heappop(ends)
        if not ends:
            self._armed = None
            self._scale = scale
            return
        end = ends[0][0]
        if end == self._armed_at and scale == self._scale and self._armed is not None:
            return
        self._scale = scale
        self._armed_at = end
        self._armed = timer = self.env.timeout(max(0.0, end - self._virtual) / scale)
        timer.callbacks.append(self._wake_callback)

    def _wake(self, timer: Event) -> None:
        if timer is not self._armed:
            return
        self._armed = None
        self._advance()
        self._virtual = max(self._virtual, self._armed_at)
        ends, version = self._ends, self._version
        while ends:
            end, sm, number = ends[0]
            if version[sm] != number:
                heappop(ends)
            elif end <= self._virtual + SAME_INSTANT:
                heappop(ends)
                residents = self._residents[sm]
                self._settle(sm, len(residents))
                done = min(residents)
                self._change(sm, residents, None, done)
                done[4].succeed()
            else:
                break
        self._rearm()
