"""The report of the benchmarks: in timeouts, beside the stored baseline, and how cost grows."""

import json
import re
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simpy

BASELINE = Path(__file__).parent / "baseline.json"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that stores what was measured."""
    parser.addoption("--store", action="store_true", help="store the costs as the baseline")


def pytest_pycollect_makeitem(collector: Any, name: str, obj: object) -> Any:
    """Take `bench_...` for tests and `Bench...` for their classes, in this folder alone."""
    if name.startswith("bench_") and callable(obj):
        return list(collector._genfunctions(name, obj))
    if (
        name.startswith("Bench")
        and isinstance(obj, type)
        and obj.__module__ == "benchmarks.bench_cost"
    ):
        return pytest.Class.from_parent(collector, name=name, obj=obj)
    return None


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print costs and growth."""
    session: Any = getattr(config, "_benchmarksession", None)
    if not session or not session.benchmarks:
        return
    unit = timeout_seconds()
    seconds = {bench.name: float(bench.stats.min) for bench in session.benchmarks}
    stored = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    write = terminalreporter.write_line
    write(f"\na bare SimPy timeout: {unit * 1e6:.3f} us")
    write(f"{'case':64}{'ms':>10}{'timeouts':>12}{'baseline':>12}{'ratio':>8}")
    for name, spent in seconds.items():
        base = stored.get(name)
        beside = f"{base:12,.0f}{spent / unit / base:8.2f}" if base else ""
        write(f"{name:64}{1e3 * spent:10.2f}{spent / unit:12,.0f}{beside}")
    write("\ngrowth of cost: 1 is linear")
    for name, exponent in growth(seconds).items():
        write(f"{name:64}{exponent:10.2f}")
    if config.getoption("--store"):
        costs = {name: round(spent / unit) for name, spent in seconds.items()}
        BASELINE.write_text(json.dumps(stored | costs, indent=1) + "\n")


def growth(seconds: dict[str, float]) -> dict[str, float]:
    """Slope of log cost over log size between the two largest sizes of each series.

    >>> growth({"bench_ctas[sim-100]": 1.0, "bench_ctas[sim-400]": 2.0, "bench_ctas[sim-1600]": 8})
    {'bench_ctas[sim]': 1.0}
    """
    series: dict[str, list[tuple[int, float]]] = {}
    for name, spent in seconds.items():
        match = re.fullmatch(r"(bench_\w+)\[(?:(\w+)-)?(\d+)(?:-(\w+))?\]", name)
        if match:
            key = f"{match[1]}[{match[2] or match[4]}]"
            series.setdefault(key, []).append((int(match[3]), spent))
    slopes = {}
    for key, points in series.items():
        (small, less), (large, more) = sorted(points)[-2:]
        slopes[key] = float(np.log(more / less) / np.log(large / small))
    return slopes


def timeout_seconds(count: int = 300_000) -> float:
    """Seconds of one bare SimPy timeout, which an event engine charges for doing nothing."""

    def waiter(env: simpy.Environment) -> Generator[simpy.Event, Any, None]:
        for _ in range(count):
            yield env.timeout(1)

    def once() -> float:
        env = simpy.Environment()
        env.process(waiter(env))
        start = time.perf_counter()
        env.run()
        return time.perf_counter() - start

    return min(once() for _ in range(3)) / count
