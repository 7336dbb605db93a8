"""How long a run takes, from the predicted times of its calls."""

from collections.abc import Iterable

from validation.measuring.cases import L2, Case
from validation.timing import MOST_COLD, WARM_UPS

#: Estimates. Once: the processes of all kernels begin together, and import Torch and Triton. For
#: each Triton kernel of a call: the C compiler builds its launcher (gcc takes 0.35 s on one core).
#: For each of them with another head size, mask or group: it is compiled (`compile_kernels` takes
#: 0.3 to 1.3 s on two cores). One whole check. A row's tensors, few checks, graphs and file.
START_S, LAUNCHER_S, COMPILE_S, CHECK_S, ROW_S = 15.0, 0.5, 1.0, 0.5, 0.2
#: Samples of a row, the least time of one of them, and calls beside: the check's, those before the
#: capture, those that find how many calls a graph and how many replays a sample takes.
REPEATS, MIN_MS, CALLS_ASIDE = 10, 10.0, 4 + 3 * WARM_UPS


def estimated_s(cases: Iterable[Case], l2: L2) -> float:
    """Seconds of a run that has begun: START_S is not in it."""
    launchers: dict[str, int] = {}
    builds: dict[tuple[object, ...], int] = {}
    checks: set[tuple[object, ...]] = set()
    total = 0.0
    for case in cases:
        checks.add(case.checked_as)
        launchers[case.kernel] = max(case.launches, launchers.get(case.kernel, 0))
        builds[(*case.checked_as, case.attention.window)] = case.launches
        total += ROW_S + _timing_ms(case.predicted_us / 1e3, l2) / 1e3
    compiled = LAUNCHER_S * sum(launchers.values()) + COMPILE_S * sum(builds.values())
    return total + compiled + CHECK_S * len(checks)


def _timing_ms(call_ms: float, l2: L2) -> float:
    """What `time_call` takes."""
    calls = max(1.0, MIN_MS / call_ms)
    samples = min(max(REPEATS, calls), MOST_COLD) if l2 == "cold" else REPEATS * calls
    return call_ms * (CALLS_ASIDE + samples)
