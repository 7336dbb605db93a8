"""A launch in one loop over its events: what an untraced `LaunchRun` does, faster.

The same machine as `gpusim.sim.stepping`, its state in flat columns instead of objects and its
kinds of events (a CTA enters its main loop, or has merged; a CTA leaves its main loop) in heaps
instead of an event queue. The code keeps to the part of Python that Numba compiles; without Numba
it runs as it stands.
"""

from collections.abc import Sequence
from heapq import heappop, heappush
from math import inf

from gpusim.machine.saturation import memory_share, stretch
from gpusim.sim.waits import Indices, Waits, go_on

#: Ends closer than this (us), or than this share of the time, are one instant (`stepping`).
SAME_INSTANT, CLOCK_GRAIN = 1e-9, 2.0**-52

Numbers = Sequence[float]
#: The numbers of `gpusim.sim.books.Books`, in order; and how many CTAs are left that wait for ones
#: that never start.
Sums = tuple[tuple[float, ...], int]


def run_loop(  # noqa: C901, PLR0913, PLR0915 - one loop, for the compiler
    steps: Numbers,
    hbm: Numbers,
    l2: Numbers,
    batch_row: Indices,
    batch_count: Indices,
    cta_first: Indices,
    worker: Indices,
    peers: Indices,
    rate: Numbers,
    workers: int,
    lanes: int,
    num_sms: int,
    latency_us: float,
    ramp_us: float,
    merge_us: float,
    hbm_bandwidth: float,
    l2_bandwidth: float,
) -> Sums:
    """Run all CTAs of a launch.

    Args:
        steps, hbm, l2: per row, steps of an item, and bytes that each step asks of HBM and L2.
        batch_row, batch_count: equal items done in one go: their row, how many.
        cta_first: first batch of each CTA, in the order in which CTAs start; one more at the end.
        worker, peers: per batch, its worker, and how many of the workers after that it waits for.
        rate: steps per us of each of n CTAs in the loop on one SM, by n.
        workers: how many there are; 0 where nobody waits, and `worker` and `peers` are not read.
        lanes: slots that get a CTA; slot s is on SM s mod `num_sms`.
        latency_us: of each item, before its loop.
        ramp_us: of each slot's first, beside.
        merge_us: of each peer, once all of them have results.
        hbm_bandwidth, l2_bandwidth: bytes per us.
    """
    us_per_hbm_byte, us_per_l2_byte = 1 / hbm_bandwidth, 1 / l2_bandwidth
    per_sm = len(rate) - 1
    # Of the CTAs in the loop on an SM, in order of arrival: the SM's progress at their end, bytes
    # a step, slot.
    target = [0.0] * (num_sms * per_sm)
    asks_hbm, asks_l2 = [0.0] * len(target), [0.0] * len(target)
    whose = [0] * len(target)
    count, version = [0] * num_sms, [0] * num_sms
    progress, touched, sm_end = [0.0] * num_sms, [0.0] * num_sms, [0.0] * num_sms
    demand_hbm, demand_l2 = [0.0] * num_sms, [0.0] * num_sms
    batch, last = [0] * lanes, [0] * lanes
    begins = [(inf, 0, 0, 0)]  # time, order, slot, batch (-1: has merged); this one never comes
    ends = [(inf, 0, -1)]  # virtual time, SM, its version then; this one never comes
    free = list(range(lanes))  # slots to take a batch now
    waits = Waits(worker, peers, [False] * workers, [-1] * workers, [-1] * lanes)
    merging = [0]
    merging.clear()
    ended = merging.copy() if workers else free  # where nobody waits, all that end are free
    left = [(0, 0, 0)]  # of CTAs that end together: others on the SM, SM, slot
    left.clear()
    now = virtual = total_hbm = total_l2 = 0.0
    scale = 1.0
    resident_us = loop_us = full_hbm = full_l2 = limit_hbm = limit_l2 = limit_step = 0.0
    fix_up_us = limit_fix_up = 0.0
    next_cta = order = running = fixing = 0
    while True:
        if workers and ended:
            fixing += len(ended)
            go_on(waits, ended, batch, free, merging)
            fixing -= len(free)  # the others wait or merge
            for slot in merging:
                order += 1
                merged_at = now + peers[batch[slot] - 1] * merge_us
                heappush(begins, (merged_at, order, slot, -1))
            ended.clear()
            merging.clear()
        for slot in free:
            if batch[slot] == last[slot]:
                if next_cta == len(cta_first) - 1:
                    resident_us += now
                    sm_end[slot % num_sms] = now
                    continue
                batch[slot], last[slot] = cta_first[next_cta], cta_first[next_cta + 1]
                next_cta += 1
            taken = batch[slot]
            batch[slot] += 1
            order += 1
            heappush(
                begins, (now + (latency_us * batch_count[taken] + ramp_us), order, slot, taken)
            )
        ramp_us = 0.0
        free.clear()
        while ends[0][2] >= 0 and version[ends[0][1]] != ends[0][2]:
            heappop(ends)
        wait = (ends[0][0] - virtual) / scale
        end_at, begin_at = now + (wait if wait > 0.0 else 0.0), begins[0][0]
        event_at = begin_at if begin_at <= end_at else end_at
        if event_at == inf:
            break
        elapsed = event_at - now
        if elapsed > 0.0:
            now = event_at
            virtual += elapsed * scale
            if fixing:
                fix_up_us += elapsed * fixing
                limit_fix_up += 0.0 if running else elapsed
            if running:
                stay = elapsed * running
                loop_us += stay
                load_hbm, load_l2 = total_hbm * us_per_hbm_byte, total_l2 * us_per_l2_byte
                if load_hbm >= load_l2:
                    blamed = memory_share(load_hbm)
                    full_hbm += blamed * stay
                    limit_hbm += blamed * elapsed
                else:
                    blamed = memory_share(load_l2)
                    full_l2 += blamed * stay
                    limit_l2 += blamed * elapsed
                limit_step += (1 - blamed) * elapsed
        due = virtual + max(SAME_INSTANT, now * CLOCK_GRAIN)
        while True:  # one CTA enters, or all that are due leave
            entering = begin_at <= end_at
            if entering:
                _, _, slot, taken = heappop(begins)
                if taken < 0:
                    fixing -= 1
                    free.append(slot)
                    break
                row = batch_row[taken]
                if steps[row] == 0.0:
                    ended.append(slot)
                    break
                sm = slot % num_sms
            else:
                while ends[0][2] >= 0 and version[ends[0][1]] != ends[0][2]:
                    heappop(ends)
                if ends[0][0] > due:
                    break
                _, sm, _ = heappop(ends)
            n, base = count[sm], sm * per_sm
            if n:
                progress[sm] += (virtual - touched[sm]) * rate[n]
            touched[sm] = virtual
            if entering:
                place = base + n
                target[place] = progress[sm] + steps[row] * batch_count[taken]
                asks_hbm[place], asks_l2[place], whose[place] = hbm[row], l2[row], slot
                n += 1
                running += 1
            else:
                done = base
                for place in range(base + 1, base + n):
                    if target[place] < target[done]:
                        done = place
                slot = whose[done]
                for place in range(done, base + n - 1):
                    target[place], whose[place] = target[place + 1], whose[place + 1]
                    asks_hbm[place], asks_l2[place] = asks_hbm[place + 1], asks_l2[place + 1]
                n -= 1
                running -= 1
                left.append((n, sm, slot))
            count[sm] = n
            version[sm] += 1
            total_hbm -= demand_hbm[sm]
            total_l2 -= demand_l2[sm]
            demand_hbm[sm] = demand_l2[sm] = 0.0
            if n:
                nearest, need_hbm, need_l2 = target[base], asks_hbm[base], asks_l2[base]
                for place in range(base + 1, base + n):
                    need_hbm += asks_hbm[place]
                    need_l2 += asks_l2[place]
                    nearest = min(nearest, target[place])
                demand_hbm[sm], demand_l2[sm] = need_hbm * rate[n], need_l2 * rate[n]
                total_hbm += demand_hbm[sm]
                total_l2 += demand_l2[sm]
                end = virtual + (nearest - progress[sm]) / rate[n]
                heappush(ends, (end, sm, version[sm]))
            elif not running:  # no rounding carries over an idle moment
                total_hbm = total_l2 = 0.0
            if entering:
                break
        if len(left) > 1:
            left.sort()
        for _, _, slot in left:  # those that leave the emptiest SMs are first to go on
            ended.append(slot)
        left.clear()
        load_hbm, load_l2 = total_hbm * us_per_hbm_byte, total_l2 * us_per_l2_byte
        scale = 1.0 / stretch(max(load_hbm, load_l2))
    sm_busy_us = 0.0
    for end in sm_end:  # one by one: the interpreter's sum() rounds otherwise than a compiler's
        sm_busy_us += end
    sums = (
        now,
        resident_us,
        sm_busy_us,
        loop_us,
        full_hbm,
        full_l2,
        limit_hbm,
        limit_l2,
        limit_step,
        fix_up_us,
        limit_fix_up,
    )
    return sums, fixing
