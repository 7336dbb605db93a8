"""Whether `gpusim tune` finds what exhaustive search finds, and in which share of its time.

    python -m validation.tuning

Searches ten shapes both ways and prints a table: time of the best by `sim`, and processor time.
Exit status 1 if a best found is more than 3 % behind the best there is, or a search takes more than
a tenth of the time. `standard` is left out: its exhaustive search takes minutes a shape, and tune
would look the better for it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from time import process_time

import click

from gpusim.spec.attention import Attention
from gpusim.spec.load import load_gpu, shipped
from gpusim.spec.workload import Workload
from gpusim.study.processes import Processes
from gpusim.study.tune import tune_workload
from gpusim.study.tuned import Tuned
from validation.command import run_command
from validation.tables import markdown

SCHEDULES = ("flash1", "flash2", "flash2_split_kv", "flash3", "lean")
#: What the best found may be behind, and the share of the time that finding it may take.
MOST_BEHIND, MOST_TIME = 0.03, 0.1


@dataclass(frozen=True, slots=True)
class Shape:
    """A problem and the GPU to tune it for; `sequences` are (count, q_len, kv_len)."""

    name: str
    gpu: str
    heads: tuple[int, int, int]
    sequences: Sequence[tuple[int, int, int]]
    causal: bool = True
    page_size: int | None = None

    @property
    def workload(self) -> Workload:
        """The problem as `gpusim tune` takes it."""
        q_heads, kv_heads, head_dim = self.heads
        return Workload(
            name=self.name,
            attention=Attention.model_validate(
                {
                    "q_heads": q_heads,
                    "kv_heads": kv_heads,
                    "head_dim": head_dim,
                    "causal": self.causal,
                    "page_size": self.page_size,
                    "sequences": [
                        {"count": count, "q_len": q_len, "kv_len": kv_len}
                        for count, q_len, kv_len in self.sequences
                    ],
                }
            ),
        )


RAGGED = ((6, 1, 90), (4, 1, 412), (2, 1, 1500), (1, 1, 4001))
SHAPES = (
    Shape("decode, 1 x 4k", "a100_sxm_80gb", (32, 8, 128), [(1, 1, 4096)]),
    Shape("decode, 8 x 2k", "h100_sxm", (32, 8, 128), [(8, 1, 2048)]),
    Shape("decode, 4 x 1k, MHA", "l40s", (16, 16, 64), [(4, 1, 1024)]),
    Shape("decode, 16 x 1k", "h200_sxm", (64, 8, 128), [(16, 1, 1024)]),
    Shape("decode, ragged, paged", "a100_sxm_40gb", (32, 8, 128), RAGGED, page_size=16),
    Shape("prefill, 512", "a100_pcie_80gb", (8, 8, 64), [(1, 512, 512)]),
    Shape("prefill, 1k", "h100_pcie", (8, 2, 128), [(1, 1024, 1024)]),
    Shape("chunk of 256 at 2k", "l40s", (8, 2, 128), [(1, 256, 2048)]),
    Shape("4 tokens verified, 4 x 4k", "rtx_6000_ada", (32, 8, 128), [(4, 4, 4096)]),
    Shape("512 x 512, no mask", "a100_sxm_80gb", (8, 8, 96), [(1, 512, 512)], causal=False),
)


def drawn(count: int, seed: int) -> list[Shape]:
    """Random small problems, which nothing of the search was chosen on."""
    random = Random(seed)
    shapes = []
    for number in range(1, count + 1):
        group, head_dim = random.choice((1, 4, 8)), random.choice((64, 96, 128, 256))
        q_len = random.choice((1, 1, 2, random.randint(16, 600)))
        kv_len = q_len + random.choice((0, random.randint(64, 4000)))
        kv_heads, batch = random.choice((1, 2, 4, 8)), random.choice((1, 1, 2, 5))
        heads = (kv_heads * group, kv_heads, head_dim)
        name = f"drawn {number}: {batch} x {q_len} of {kv_len}, {heads[0]}/{kv_heads} of {head_dim}"
        gpu = random.choice(sorted(shipped("hardware")))
        shapes.append(Shape(name, gpu, heads, [(batch, q_len, kv_len)], random.random() < 0.8))
    return shapes


@dataclass(frozen=True, slots=True)
class Outcome:
    """Both searches of a shape, with their processor time in seconds."""

    shape: Shape
    tuned: Tuned
    tuned_s: float
    exhaustive: Tuned
    exhaustive_s: float

    @property
    def behind(self) -> float:
        """How far the best found is behind the best there is."""
        best = self.exhaustive.best.result.time_us
        return self.tuned.best.result.time_us / best - 1

    @property
    def share(self) -> float:
        """Time of the search over that of the exhaustive one."""
        return self.tuned_s / self.exhaustive_s

    @property
    def holds(self) -> bool:
        """Whether both are as good as claimed."""
        return self.behind <= MOST_BEHIND and self.share <= MOST_TIME

    @property
    def cells(self) -> list[str]:
        """A line of the table."""
        return [
            f"{self.shape.name} ({self.shape.gpu})",
            f"{self.exhaustive.simulated:,}",
            f"{self.tuned.analysed} / {self.tuned.simulated}",
            f"{self.exhaustive.best.result.time_us:.2f}",
            f"{self.tuned.best.result.time_us:.2f}",
            f"{100 * self.behind:.1f} %",
            f"{self.exhaustive_s:.1f}",
            f"{self.tuned_s:.2f}",
            f"{100 * self.share:.1f} %",
        ]


COLUMNS = (
    "shape",
    "configurations|tried by analytic / sim|best us|found us|behind|exhaustive s|tune s|share",
)


def both_ways(shape: Shape) -> Outcome:
    """Tune for a shape, then search it exhaustively; the second finds caches warm."""
    gpus = [load_gpu(shape.gpu)]
    tune = partial(tune_workload, shape.workload, gpus=gpus, schedules=SCHEDULES)
    start = process_time()
    (tuned,) = tune()
    middle = process_time()
    (exhaustive,) = tune(exhaustive=True)
    return Outcome(shape, tuned, middle - start, exhaustive, process_time() - middle)


def outcomes(shapes: Sequence[Shape], workers: int) -> Iterator[Outcome]:
    """Outcomes in the order of the shapes."""
    if workers == 1:
        yield from map(both_ways, shapes)
        return
    with Processes(workers) as processes:
        yield from processes.map(both_ways, shapes)


@click.command()
@click.option("--shape", "numbers", type=click.IntRange(1, len(SHAPES)), multiple=True)
@click.option("--draw", type=click.IntRange(min=1), help="So many drawn at random instead.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True)
def tuning(numbers: tuple[int, ...], draw: int | None, seed: int, workers: int) -> int:
    """Search the shapes (or those of these numbers) both ways, and print a table."""
    chosen: Sequence[Shape] = [SHAPES[number - 1] for number in numbers] or SHAPES
    if draw:
        chosen = drawn(draw, seed)
    found = []
    for outcome in outcomes(chosen, workers):
        found.append(outcome)
        click.echo(f"{len(found)} of {len(chosen)}: {', '.join(outcome.cells)}", err=True)
    click.echo(markdown(COLUMNS, (outcome.cells for outcome in found)))
    return 0 if all(outcome.holds for outcome in found) else 1


if __name__ == "__main__":
    run_command(tuning, "tuning")
