"""What predictions cost, in bare SimPy timeouts on the same machine: `python tests/benchmark.py`.

A timeout is what the event engine underneath charges for doing nothing, so the figures compare
across machines. Times are the best of several runs; memory is the peak after the largest case.
"""

import resource
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from typing import Any

import simpy

import gpusim


def timeout_seconds(count: int = 300_000) -> float:
    """Seconds of one bare SimPy timeout."""

    def waiter(env: simpy.Environment) -> Generator[simpy.Event, Any, None]:
        for _ in range(count):
            yield env.timeout(1)

    env = simpy.Environment()
    env.process(waiter(env))
    return seconds(env.run) / count


def seconds(run: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def llama(count: int, q_len: int, kv_len: int) -> gpusim.Attention:
    """Llama-3 8B attention over `count` equal sequences."""
    sequence = gpusim.Sequence(count=count, q_len=q_len, kv_len=kv_len)
    return gpusim.Attention(q_heads=32, kv_heads=8, head_dim=128, sequences=(sequence,))


CASES = (
    # name, attention, schedule, engine, limit in timeouts
    ("prefill of 32,768 CTAs", llama(8, 16384, 16384), "flash2", "sim", 500_000),
    ("prefill of 131,072 CTAs", llama(32, 16384, 16384), "flash2", "sim", 2_000_000),
    ("decode of 256 x 32k", llama(256, 1, 32768), "flash2_split_kv", "sim", 100_000),
    ("decode of 256 x 32k", llama(256, 1, 32768), "flash2_split_kv", "analytic", 2_000),
    ("prefill of 32,768 CTAs", llama(8, 16384, 16384), "flash2", "analytic", 2_000),
)


def main(repeats: int = 3) -> None:
    """Print a row per case."""
    gpu = gpusim.load_gpu("a100_sxm_80gb")
    unit = min(timeout_seconds() for _ in range(repeats))
    print(f"a bare SimPy timeout: {unit * 1e6:.3f} us")
    print(f"{'case':26}{'engine':10}{'seconds':>10}{'timeouts':>12}{'limit':>12}")
    for name, attention, schedule, engine, limit in CASES:

        def run(a: Any = attention, s: str = schedule, e: str = engine) -> object:
            return gpusim.simulate(a, gpu, s, e)

        run()
        best = min(seconds(run) for _ in range(repeats))
        print(f"{name:26}{engine:10}{best:10.4f}{best / unit:12,.0f}{limit:12,}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory: {peak:.0f} MiB")
    start_up()


def start_up(repeats: int = 7) -> None:
    """Start-up of the command line against importing numpy, click and yaml."""

    def best(*command: str) -> float:
        def run() -> object:
            return subprocess.run(command, check=True, capture_output=True)

        return min(seconds(run) for _ in range(repeats))

    python = sys.executable
    base = best(python, "-c", "import numpy, click, yaml")
    tool = (python, "-c", "from gpusim.cli import main; main()")
    for name, arguments in (
        ("gpusim --help", ("--help",)),
        ("gpusim simulate (decode)", ("simulate", "llama3_8b_decode")),
    ):
        print(f"{name:26}{best(*tool, *arguments) / base:8.2f} x importing numpy, click, yaml")


if __name__ == "__main__":
    main()
