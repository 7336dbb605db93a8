"""CTAs in their main loop: they share the pipes of their SM, and the bandwidth of L2 and HBM."""

from collections.abc import Callable
from heapq import heappop, heappush
from math import ulp

from simpy import Environment, Event

from gpusim.machine.saturation import memory_share, stretch

#: Ends closer than this (us), or than the clock can tell apart (from 8 s on), are one instant.
SAME_INSTANT = 1e-9

#: A CTA in its loop: progress of its SM at its end, order of arrival, HBM and L2 bytes a step, end.
_Resident = tuple[float, int, float, float, Event]


class _Sm:
    """One SM: who is in the loop, the steps each has made since it was last empty, and demand."""

    __slots__ = ("demand_hbm", "demand_l2", "progress", "residents", "touched", "version")

    def __init__(self) -> None:
        self.residents: list[_Resident] = []
        self.progress = self.touched = 0.0
        self.demand_hbm = self.demand_l2 = 0.0
        self.version = 0


class Stepping:
    """Rate-sharing of all CTAs of a launch that are in their main loop.

    On an SM with n such CTAs each makes `rate[n]` steps per us. Over the whole GPU, all of them
    slow down by one factor, by what they ask of HBM or L2 (`gpusim.machine.saturation`):

        load  = max(Σ rate·HBM bytes a step / HBM bandwidth, Σ rate·L2 bytes a step / L2 bandwidth)
        scale = 1 / stretch(load)

    Since that factor is common, progress is kept in a virtual time that runs `scale` times as fast
    as the clock: a CTA's end is fixed in virtual time until its own SM changes, whatever the others
    do, and only the earliest end needs an event.

    Attributes:
        resident_us: time in the loop, summed over CTAs.
        saturated_us: the part of it that 'hbm' or 'l2' answers for (`memory_share`).
        limited_us: time on the clock by what held the CTAs in the loop back: 'hbm', 'l2', or their
            own 'step'.
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
        self.resident_us = 0.0
        self.saturated_us = {"hbm": 0.0, "l2": 0.0}
        self.limited_us = {"hbm": 0.0, "l2": 0.0, "step": 0.0}
        self._rate = rate
        self._us_per_hbm_byte = 1 / hbm_bandwidth
        self._us_per_l2_byte = 1 / l2_bandwidth
        self._sms = [_Sm() for _ in range(num_sms)]
        self._ends: list[tuple[float, int, int]] = []  # (virtual time, SM, its version then)
        self._hbm = self._l2 = 0.0
        self._count = self._order = 0
        self._virtual = self._now = 0.0
        self._scale = 1.0
        self._timer: Event | None = None
        self._timer_at = 0.0
        self._on_timer: Callable[[Event], None] = self._wake

    def enter(self, sm: int, delay: float, steps: float, hbm_step: float, l2_step: float) -> Event:
        """Let a CTA into its main loop on an SM after a delay; the event succeeds at its end.

        Args:
            sm: where it is resident.
            delay: us before its loop, in which it asks nothing of anyone.
            steps: steps of its loop; above 0.
            hbm_step, l2_step: bytes that each step asks of HBM and of L2.
        """
        end = Event(self.env)
        state = self._sms[sm]

        def begin(_: Event) -> None:
            self._advance()
            self._settle(state)
            self._order += 1
            self._count += 1
            state.residents.append((state.progress + steps, self._order, hbm_step, l2_step, end))
            self._changed(sm, state)
            self._set_timer()

        self.env.timeout(delay).callbacks.append(begin)
        return end

    def idle_us(self) -> float:
        """Time on the clock, until now, in which no CTA was in its main loop."""
        now = self.env.now
        running = now - self._now if self._count else 0.0
        return now - sum(self.limited_us.values()) - running

    def _advance(self) -> None:
        """Bring virtual time, and the books of saturation, up to the clock."""
        now = self.env.now
        elapsed = now - self._now
        if elapsed > 0.0:
            self._now = now
            self._virtual += elapsed * self._scale
            stay = elapsed * self._count
            self.resident_us += stay
            if self._count:
                hbm, l2 = self._hbm * self._us_per_hbm_byte, self._l2 * self._us_per_l2_byte
                level, load = ("hbm", hbm) if hbm >= l2 else ("l2", l2)
                blamed = memory_share(load)
                self.saturated_us[level] += blamed * stay
                self.limited_us[level] += blamed * elapsed
                self.limited_us["step"] += (1 - blamed) * elapsed

    def _settle(self, state: _Sm) -> None:
        """Bring one SM's progress up to virtual time."""
        n = len(state.residents)
        elapsed = self._virtual - state.touched
        state.progress = state.progress + elapsed * self._rate[n] if n else 0.0
        state.touched = self._virtual

    def _changed(self, sm: int, state: _Sm) -> None:
        """After a CTA came or went: the SM's demand, and the time of its next end."""
        self._hbm -= state.demand_hbm
        self._l2 -= state.demand_l2
        state.version += 1
        residents = state.residents
        n = len(residents)
        if n:
            rate = self._rate[n]
            target, _, hbm, l2, _ = residents[0]
            for entry in residents[1:]:
                hbm += entry[2]
                l2 += entry[3]
                if entry[0] < target:
                    target = entry[0]
            state.demand_hbm = hbm = hbm * rate
            state.demand_l2 = l2 = l2 * rate
            self._hbm += hbm
            self._l2 += l2
            end = self._virtual + (target - state.progress) / rate
            heappush(self._ends, (end, sm, state.version))
        else:
            state.demand_hbm = state.demand_l2 = 0.0
            if not self._count:  # no rounding carries over an idle moment
                self._hbm = self._l2 = 0.0

    def _set_timer(self) -> None:
        """Set the one timer to the earliest end, at the pace that the demand allows.

        A timer that is too early stays: it finds nothing due and is set again, which takes fewer
        events than a new one for each change of pace.
        """
        load, load_l2 = self._hbm * self._us_per_hbm_byte, self._l2 * self._us_per_l2_byte
        if load < load_l2:
            load = load_l2
        scale = 1.0 / stretch(load)
        ends, sms = self._ends, self._sms
        while ends and sms[ends[0][1]].version != ends[0][2]:
            heappop(ends)
        if not ends:
            self._timer = None
        else:
            wait = (ends[0][0] - self._virtual) / scale
            wait = wait if wait > 0.0 else 0.0
            at = self.env.now + wait
            if self._timer is None or at < self._timer_at:
                self._timer_at = at
                self._timer = timer = self.env.timeout(wait)
                timer.callbacks.append(self._on_timer)
        self._scale = scale

    def _wake(self, timer: Event) -> None:
        """End all CTAs that are due, those that leave the emptiest SMs first.

        The slots take their next items in this order, so that a wave whose CTAs end together is
        followed by one spread breadth-first over the SMs, like the first.
        """
        if timer is not self._timer:
            return  # overtaken by a change
        self._timer = None
        self._advance()
        due = self._virtual + max(SAME_INSTANT, ulp(self.env.now))
        ends, sms = self._ends, self._sms
        left: list[tuple[int, int, Event]] = []
        while ends and ends[0][0] <= due:
            _, sm, version = heappop(ends)
            state = sms[sm]
            if state.version == version:
                self._settle(state)
                done = min(state.residents)
                state.residents.remove(done)
                self._count -= 1
                self._changed(sm, state)
                left.append((len(state.residents), sm, done[4]))
        if len(left) > 1:
            left.sort(key=lambda end: end[:2])
        for _, _, event in left:
            event.succeed()
        self._set_timer()
