"""Who ends when: small runs of `Stepping`, worked by hand."""

from collections.abc import Generator
from typing import Any

import numpy as np
import pytest
import simpy

from gpusim.sim.stepping import Stepping

PLENTY = 1e12
#: Stretch and memory's share of the time at a load of 1 and of 2: (1 + load⁴)^(1/4), and
#: load⁴ / (1 + load⁴).
AT_1, AT_2 = 2**0.25, 17**0.25
SHARE_1, SHARE_2 = 1 / 2, 16 / 17
#: Name, SM, delay before the loop, steps, HBM bytes a step, L2 bytes a step.
Cta = tuple[str, int, float, float, float, float]
Log = list[tuple[str, float]]


def _run(
    ctas: list[Cta],
    *,
    rate: list[float],
    num_sms: int = 2,
    hbm: float = PLENTY,
    l2: float = PLENTY,
) -> tuple[Log, Stepping]:
    """Run CTAs (name, SM, delay, steps, HBM and L2 bytes a step); log who ends when."""
    env = simpy.Environment()
    stepping = Stepping(env, num_sms, rate, hbm, l2)
    log: Log = []

    def cta(name: str, *entry: Any) -> Generator[simpy.Event, Any, None]:
        yield stepping.enter(*entry)
        log.append((name, env.now))

    for one in ctas:
        env.process(cta(*one))
    env.run()
    return log, stepping


def test_a_cta_alone_takes_its_steps_over_its_rate() -> None:
    log, stepping = _run([("a", 0, 1.0, 10.0, 0.0, 0.0)], rate=[0.0, 2.0])
    assert log == [("a", 6.0)]
    assert stepping.resident_us == 5.0
    assert stepping.saturated_us == {"hbm": 0.0, "l2": 0.0}


def test_two_on_one_sm_go_at_the_shared_rate_until_one_leaves() -> None:
    # Both at 1.5 until a's 3 steps are done at 2; b has 3 of its 6 left and takes 1.5 at rate 2.
    ctas: list[Cta] = [("a", 0, 0.0, 3.0, 0.0, 0.0), ("b", 0, 0.0, 6.0, 0.0, 0.0)]
    log, stepping = _run(ctas, rate=[0.0, 2.0, 1.5])
    assert log == [("a", 2.0), ("b", 3.5)]
    assert stepping.resident_us == 2 * 2.0 + 1.5


def test_one_that_joins_slows_the_other_down() -> None:
    # a makes 2 of 4 steps alone by t=2; both at 0.75 until b's 1.5 are done at 4; a has 0.5 left.
    ctas: list[Cta] = [("a", 0, 0.0, 4.0, 0.0, 0.0), ("b", 0, 2.0, 1.5, 0.0, 0.0)]
    log, _ = _run(ctas, rate=[0.0, 1.0, 0.75])
    assert log == [("b", 4.0), ("a", 4.5)]


def test_ctas_of_other_sms_do_not_share_pipes() -> None:
    ctas: list[Cta] = [("a", 0, 0.0, 3.0, 0.0, 0.0), ("b", 1, 0.0, 6.0, 0.0, 0.0)]
    log, _ = _run(ctas, rate=[0.0, 2.0, 0.1])
    assert log == [("a", 1.5), ("b", 3.0)]


def test_two_sms_that_saturate_hbm_share_it_until_one_leaves() -> None:
    # Each asks for 10 bytes a us of 10: a load of 2 until a's 2 steps are done, then of 1 while b
    # makes the 2 of its 4 steps that are left.
    ctas: list[Cta] = [("a", 0, 0.0, 2.0, 10.0, 10.0), ("b", 1, 0.0, 4.0, 10.0, 10.0)]
    log, stepping = _run(ctas, rate=[0.0, 1.0], hbm=10.0)
    assert dict(log) == pytest.approx({"a": 2 * AT_2, "b": 2 * AT_2 + 2 * AT_1})
    blamed = 2 * 2 * AT_2 * SHARE_2 + 2 * AT_1 * SHARE_1
    assert stepping.saturated_us == {"hbm": pytest.approx(blamed), "l2": 0.0}
    assert stepping.resident_us == pytest.approx(2 * 2 * AT_2 + 2 * AT_1)


def test_the_level_that_is_over_its_bandwidth_most_sets_the_pace() -> None:
    # HBM is asked for 1.5 times its bandwidth, L2 for twice, so that L2 is to blame.
    log, stepping = _run([("a", 0, 0.0, 4.0, 3.0, 10.0)], rate=[0.0, 1.0], hbm=2.0, l2=5.0)
    assert dict(log) == pytest.approx({"a": 4 * AT_2})
    assert stepping.saturated_us == {"hbm": 0.0, "l2": pytest.approx(4 * AT_2 * SHARE_2)}


def test_demand_follows_the_pace_of_the_pipes() -> None:
    # Two on one SM at 0.5 ask for no more than one at 1 did: a load of 1, not of 2.
    ctas: list[Cta] = [("a", 0, 0.0, 2.0, 10.0, 0.0), ("b", 0, 0.0, 2.0, 10.0, 0.0)]
    log, stepping = _run(ctas, rate=[0.0, 1.0, 0.5], hbm=10.0)
    assert dict(log) == pytest.approx({"a": 4 * AT_1, "b": 4 * AT_1})
    assert stepping.saturated_us["hbm"] == pytest.approx(2 * 4 * AT_1 * SHARE_1)


def test_a_memory_that_is_always_asked_for_far_too_much_passes_bytes_at_its_bandwidth() -> None:
    # The least load is 7 / 0.5: stretched by no more than 1 / (4·14⁴) beyond what memory takes.
    ctas: list[Cta] = [
        (f"cta{i}", i % 3, 0.1 * i, 1.0 + i % 4, 7.0 * (1 + i % 5), 1.0) for i in range(20)
    ]
    log, _ = _run(ctas, rate=[0.0, *[1.0] * 7], num_sms=3, hbm=0.5)
    assert sum(cta[3] * cta[4] for cta in ctas) == 1050.0
    assert len(log) == 20
    assert max(end for _, end in log) == pytest.approx(1050.0 / 0.5, rel=1 / (4 * 14**4))


def test_ends_at_one_instant_come_first_on_the_sm_that_empties() -> None:
    """Slots are refilled in the order of ends: one on each SM first, then the second ones."""
    names = {"a": 0, "b": 1, "c": 0, "d": 1}
    ctas: list[Cta] = [(name, sm, 0.0, 3.0, 0.0, 0.0) for name, sm in names.items()]
    log, _ = _run(ctas, rate=[0.0, 1.0, 1.0])
    assert [(names[name], end) for name, end in log] == [(0, 3.0), (1, 3.0), (0, 3.0), (1, 3.0)]


def test_an_sm_that_stays_busy_is_refilled_after_one_that_falls_idle() -> None:
    ctas: list[Cta] = [
        ("a", 0, 0.0, 3.0, 0.0, 0.0),
        ("stays", 0, 0.0, 9.0, 0.0, 0.0),
        ("b", 1, 0.0, 3.0, 0.0, 0.0),
    ]
    log, _ = _run(ctas, rate=[0.0, 1.0, 1.0])
    assert log == [("b", 3.0), ("a", 3.0), ("stays", 9.0)]


def test_a_run_repeats_to_the_last_bit() -> None:
    ctas: list[Cta] = [(f"cta{i}", i % 4, 0.3 * (i % 7), 1 + i % 3, i, i) for i in range(60)]
    rate = [0.0, *(1.0 / n**0.5 for n in range(1, 20))]
    logs = [_run(ctas, rate=rate, num_sms=4, hbm=3.0, l2=9.0)[0] for _ in range(2)]
    assert logs[0] == logs[1]
    assert len(logs[0]) == 60
    assert [end for _, end in logs[0]] == sorted(end for _, end in logs[0])


@pytest.mark.parametrize("n", [1, 5, 50])
def test_equal_ctas_on_equal_sms_end_together(n: int) -> None:
    ctas: list[Cta] = [(f"cta{i}", i, 0.0, 1.5, 20.0, 0.0) for i in range(n)]
    log, _ = _run(ctas, rate=[0.0, 0.9], num_sms=n, hbm=10.0 * n)
    assert len({end for _, end in log}) == 1
    assert log[0][1] == pytest.approx(1.5 / 0.9 * (1 + 1.8**4) ** 0.25)


@pytest.mark.parametrize("seed", [27, 85, 123, 127])
def test_ends_closer_than_the_clock_can_tell_apart_are_one_instant(seed: int) -> None:
    """After minutes a clock in us has steps above SAME_INSTANT: no timer may be set to now."""
    draw, env = np.random.default_rng(seed), simpy.Environment()
    stepping = Stepping(env, 2, [0.0, 1.0, 0.7], *draw.uniform(1, 10, 2))
    for cta in range(4):
        stepping.enter(cta % 2, *draw.uniform(1e8, 1e9, 2), *draw.uniform(0, 10, 2))
    for _ in range(200):
        if env.peek() == float("inf"):
            return
        env.step()
    pytest.fail(f"still at {env.now} us")
