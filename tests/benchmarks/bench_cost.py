"""What predictions cost, and how that grows: `pytest tests/benchmarks/bench_cost.py`.

A row tells seconds, and the same in bare SimPy timeouts, which compare across machines; beside them
stands the stored baseline. A growth of 1 is linear. Not collected with the tests: nothing here can
fail on a slow machine.
"""

import subprocess
import sys

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import gpusim
from gpusim.sim import run

GPU = "a100_sxm_80gb"


def llama(count: int, q_len: int, kv_len: int) -> gpusim.Attention:
    """Llama-3 8B attention over `count` equal sequences."""
    sequence = gpusim.Sequence(count=count, q_len=q_len, kv_len=kv_len)
    return gpusim.Attention(q_heads=32, kv_heads=8, head_dim=128, sequences=(sequence,))


def ragged(sequences: int) -> gpusim.Attention:
    """Prompts of as many lengths as there are, 64 to 2,048 tokens."""
    lengths = (64 + 1984 * i // sequences for i in range(sequences))
    return gpusim.Attention(
        q_heads=32,
        kv_heads=8,
        head_dim=128,
        sequences=tuple(gpusim.Sequence(q_len=n, kv_len=n) for n in lengths),
    )


def with_sms(count: int) -> gpusim.Gpu:
    """An A100 of so many SMs."""
    return gpusim.load_gpu(GPU).replaced({"sm.count": count})


CASES = {
    "prompts, 32,768 CTAs": (llama(8, 16384, 16384), "flash2"),
    "prompts, 131,072 CTAs": (llama(32, 16384, 16384), "flash2"),
    "decode, 256 x 32k": (llama(256, 1, 32768), "flash2_split_kv"),
    "decode, 64 x 8k, Stream-K": (llama(64, 1, 8192), "lean"),
}


@pytest.fixture(autouse=True)
def _interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile nothing because of what ran before: each case costs the same alone."""
    monkeypatch.setattr(run, "COMPILE_AFTER", sys.maxsize)


@pytest.mark.parametrize("engine", ["sim", "analytic"])
@pytest.mark.parametrize("case", CASES)
def bench_case(benchmark: BenchmarkFixture, case: str, engine: str) -> None:
    attention, schedule = CASES[case]
    benchmark(gpusim.simulate, attention, GPU, schedule, engine)


@pytest.mark.parametrize("case", ["prompts, 32,768 CTAs", "decode, 256 x 32k"])
def bench_compiled(benchmark: BenchmarkFixture, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same where the process has simulated enough to have the loop compiled."""
    pytest.importorskip("numba")
    monkeypatch.setattr(run, "COMPILE_AFTER", 0)
    attention, schedule = CASES[case]
    benchmark(gpusim.simulate, attention, GPU, schedule)


@pytest.mark.parametrize("engine", ["sim", "analytic"])
class BenchGrowth:
    """One size at a time, each four times the one before."""

    @pytest.mark.parametrize("ctas", [2048, 8192, 32768, 131072])
    def bench_ctas(self, benchmark: BenchmarkFixture, ctas: int, engine: str) -> None:
        attention = llama(ctas // 512, 2048, 2048)
        benchmark(gpusim.simulate, attention, GPU, "flash2", engine)

    @pytest.mark.parametrize("kv_len", [4096, 16384, 65536, 262144])
    def bench_kv_steps(self, benchmark: BenchmarkFixture, kv_len: int, engine: str) -> None:
        benchmark(gpusim.simulate, llama(64, 1, kv_len), GPU, "flash2_split_kv", engine)

    @pytest.mark.parametrize("sequences", [16, 64, 256, 1024])
    def bench_sequences(self, benchmark: BenchmarkFixture, sequences: int, engine: str) -> None:
        benchmark(gpusim.simulate, ragged(sequences), GPU, "flash2", engine)

    @pytest.mark.parametrize("sms", [16, 64, 256, 1024])
    def bench_sms(self, benchmark: BenchmarkFixture, sms: int, engine: str) -> None:
        benchmark(gpusim.simulate, llama(64, 2048, 2048), with_sms(sms), "flash2", engine)

    @pytest.mark.parametrize("shapes", [1, 16, 256, 1024])
    def bench_shapes(self, benchmark: BenchmarkFixture, shapes: int, engine: str) -> None:
        """Decode steps as a sweep has them: of the closed form, a column."""

        def predict() -> None:
            calls = (llama(1 + n % 64, 1, 1024 + 16 * n) for n in range(shapes))
            for _ in gpusim.simulate_many(calls, GPU, "flash2_split_kv", engine):
                pass

        benchmark(predict)


@pytest.mark.parametrize(
    "arguments", [("--help",), ("simulate", "llama3_8b_decode", "--schedule", "flash2")]
)
def bench_start(benchmark: BenchmarkFixture, arguments: tuple[str, ...]) -> None:
    """The command line from its start to its end."""
    command = (sys.executable, "-c", "from gpusim.cli import main; main()", *arguments)
    benchmark(subprocess.run, command, check=True, capture_output=True)
