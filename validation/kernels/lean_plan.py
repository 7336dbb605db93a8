"""The line of KV tiles that LeanAttention's workers share, and where each of them begins."""

from dataclasses import dataclass

import torch

from gpusim.spec.attention import Attention
from gpusim.units import ceil_div
from validation.kernels.problem import Problem, fits
from validation.kernels.tile import visited


@dataclass(frozen=True, slots=True)
class Plan:
    """The line of KV tiles.

    Attributes:
        outputs: rows (sequence, KV head, query tile, first KV tile, end in the line); a row before
            the first output ends at 0.
        first_output: row of the output in which each worker's run begins.
    """

    outputs: list[tuple[int, int, int, int, int]]
    first_output: list[int]

    @property
    def tiles(self) -> int:
        """Tiles in the line."""
        return self.outputs[-1][-1]


def plan(attention: Attention, *, block_m: int, block_n: int, workers: int) -> Plan:
    """Outputs by sequence, KV head and query tile; one that sees nothing has a tile too."""
    outputs, end = [(0, 0, 0, 0, 0)], 0
    sequences = [s for s in attention.sequences for _ in range(s.count)]
    for batch, sequence in enumerate(sequences):
        rows = sequence.q_len * attention.group_size
        for head in range(attention.kv_heads):
            for block in range(ceil_div(rows, block_m)):
                last = min((block + 1) * block_m, rows) - 1
                queries = block * block_m // attention.group_size, last // attention.group_size
                start, stop = visited(attention, sequence, queries, block_n)
                end += max(1, stop - start)
                outputs.append((batch, head, block, start, end))
    starts, row = [], 1
    for worker in range(workers):
        while outputs[row][-1] <= run_start(worker, end, workers):
            row += 1
        starts.append(row)
    return Plan(outputs, starts)


def run_start(worker: int, tiles: int, workers: int) -> int:
    """Where a worker's run begins: `first_tile` of the kernel, in Python.

    >>> [run_start(w, 10, 4) for w in range(5)]
    [0, 3, 6, 8, 10]
    """
    most = ceil_div(tiles, workers)
    full = tiles - (most - 1) * workers
    return most * worker if worker < full else (most - 1) * worker + full


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan in the memory of the GPU.

    Attributes:
        outputs, first_output: those of `Plan`, int32.
        flags: one for each worker, 0 before and after each launch.
        tiles: in the line.
    """

    outputs: torch.Tensor
    first_output: torch.Tensor
    flags: torch.Tensor
    tiles: int


def prepare(problem: Problem, *, block_m: int, block_n: int, workers: int) -> Prepared:
    """The plan of a problem, on its device.

    Raises:
        ValueError: for more workers than KV tiles.
    """
    line = plan(fits(problem), block_m=block_m, block_n=block_n, workers=workers)
    if workers > line.tiles:
        raise ValueError(f"workers: expected at most {line.tiles} KV tiles, found {workers}")
    outputs, first_output = (
        torch.tensor(rows, dtype=torch.int32, device=problem.q.device)
        for rows in (line.outputs, line.first_output)
    )
    return Prepared(outputs, first_output, torch.zeros_like(first_output), line.tiles)
