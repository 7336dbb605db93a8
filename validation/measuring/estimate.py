"""How long a run takes, from the predicted times of its calls."""

from collections.abc import Iterable

from validation.measuring.cases import L2, Case
from validation.timing import MOST_COLD, WARM_UPS

#: Estimates: a launch compiled for a new head size, mask or group (`compile_kernels` takes 0.3 to
#: 1.3 s on two cores); one full check; a row's tensors, few checked outputs, graph and file.
COMPILE_S, CHECK_S, ROW_S = 1.0, 0.5, 0.2
#: Samples of a row, the least time of one of them, and calls beside: the check's, those before the
#: capture, those that find how many replays a sample takes.
REPEATS, MIN_MS, CALLS_ASIDE = 10, 10.0, 2 + 2 * WARM_UPS


def estimated_s(cases: Iterable[Case], l2: L2) -> float:
    """Seconds of a run."""
    builds: dict[tuple[object, ...], int] = {}
    checks: set[tuple[object, ...]] = set()
    total = 0.0
    for case in cases:
        attention = case.attention
        check = (case.kernel, attention.head_dim, case.mask)
        checks.add(check)
        builds[(*check, attention.group_size, attention.window)] = case.launches
        total += ROW_S + _timing_ms(case.predicted_us / 1e3, l2) / 1e3
    return total + COMPILE_S * sum(builds.values()) + CHECK_S * len(checks)


def _timing_ms(call_ms: float, l2: L2) -> float:
    """What `time_call` takes."""
    calls = max(1.0, MIN_MS / call_ms)
    samples = min(max(REPEATS, calls), MOST_COLD) if l2 == "cold" else REPEATS * calls
    return call_ms * (CALLS_ASIDE + samples)
