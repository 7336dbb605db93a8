"""Whether a kernel computes attention: its outputs beside PyTorch's in float64.

An exact kernel rounds each weight p and each output once to 16 bits, by a share of at most u, the
roundoff of the type. So o differs from Σ p v by at most u·|Σ p v| + u·Σ p|v|. Where many keys
count, what their weights are rounded by averages out: independent errors of at most u·p|v| exceed
6u·√(Σ p²v²) once in 3·10⁷ (Hoeffding). A tenth and 1e-6·Σ p|v| are added for sums in fp32.
Log-sum-exps stay in fp32.

A sampled output has an error that is a matter of chance. Of few outputs it is compared with the
standard deviation of as many independent draws, which systematic ones should not exceed; of many
runs, with the spread among them.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import torch

from gpusim.units import ceil_div
from validation.kernels.problem import Problem
from validation.measuring.launching import Output, call_of, output_of

ROUNDOFF = {"fp16": 2.0**-11, "bf16": 2.0**-8}
LSE_TOLERANCE = 1e-4
#: Outputs that are checked of every problem that is timed, [queries, heads] each.
FEW = 8
#: Runs with different draws, and limits of the mean and the standard deviation of their errors in
#: units of the standard error: over a thousand outputs, 0 and 1.03 are expected.
SEEDS, MOST_BIAS, DEVIATIONS = 32, 0.15, (0.85, 1.25)
#: Root mean square of the error of one sampled output over its dimensions, in standard deviations.
MOST_SAMPLED_ERROR = 2.0


class WrongResultError(Exception):
    """A kernel has computed something else than attention."""


class Rows(NamedTuple):
    """Queries of one sequence and head; queries counted within the sequence."""

    sequence: int
    head: int
    queries: torch.Tensor

    def of(self, x: torch.Tensor, q_len: int) -> torch.Tensor:
        """Rows of a tensor [queries of all sequences, heads, ...], in float64."""
        return x[self.sequence * q_len + self.queries, self.head].double()


@dataclass(frozen=True, slots=True, kw_only=True)
class Exact:
    """Attention of some rows, from its definition.

    Attributes:
        o: Σ p v, [rows, head_dim].
        size, noise: Σ p|v| and √(Σ p²v²).
        variance: Σ p v² - o², of v drawn by p.
        lse: log-sum-exp of the scores, [rows].
    """

    o: torch.Tensor
    size: torch.Tensor
    noise: torch.Tensor
    variance: torch.Tensor
    lse: torch.Tensor


def exact(problem: Problem, rows: Rows) -> Exact:
    """Attention of rows in float64; all sequences are alike, the mask is aligned bottom right."""
    attention, lengths = problem.attention, problem.attention.sequences[0]
    keys = slice(rows.sequence * lengths.kv_len, (rows.sequence + 1) * lengths.kv_len)
    k, v = (x[keys, rows.head // attention.group_size].double() for x in (problem.k, problem.v))
    scores = rows.of(problem.q, lengths.q_len) @ k.T / math.sqrt(attention.head_dim)
    position = rows.queries[:, None] + lengths.kv_len - lengths.q_len
    ahead = torch.arange(lengths.kv_len, device=k.device) - position
    if attention.causal:
        scores.masked_fill_(ahead > 0, -math.inf)
    if attention.window is not None:
        scores.masked_fill_(ahead.abs() >= attention.window, -math.inf)
    lse = scores.logsumexp(1)
    p = (scores - lse[:, None]).exp()
    o = p @ v
    size, noise, variance = p @ v.abs(), (p**2 @ v**2).sqrt(), p @ v**2 - o**2
    return Exact(o=o, size=size, noise=noise, variance=variance, lse=lse)


def tolerance(should: Exact, dtype: str) -> torch.Tensor:
    """How far an exact kernel's output may lie from Σ p v."""
    rounded = should.o.abs() + torch.minimum(should.size, 6 * should.noise)
    return 1.1 * ROUNDOFF[dtype] * rounded + 1e-6 * should.size


def all_rows(problem: Problem) -> Iterable[Rows]:
    """Every output of a problem."""
    attention = problem.attention
    queries = torch.arange(attention.sequences[0].q_len, device=problem.q.device)
    heads = product(range(attention.batch), range(attention.q_heads))
    return (Rows(sequence, head, queries) for sequence, head in heads)


def few_rows(problem: Problem, *, seed: int = 0) -> Iterable[Rows]:
    """Some outputs at random."""
    attention, generator = problem.attention, torch.Generator().manual_seed(seed)
    ends = (attention.batch, attention.q_heads, attention.sequences[0].q_len)
    for _ in range(FEW):
        sequence, head, query = (int(torch.randint(end, (), generator=generator)) for end in ends)
        yield Rows(sequence, head, torch.tensor([query], device=problem.q.device))


def check_outputs(
    found: Output, problem: Problem, rows: Iterable[Rows], options: Mapping[str, int]
) -> None:
    """Check all outputs for being finite, and the rows for being attention.

    Raises:
        WrongResultError: if they are not.
    """
    o, statistic = output_of(found)
    expect(bool(o.isfinite().all()), "an output is not finite")
    lengths, draws = problem.attention.sequences[0], draws_of(options, problem)
    for row in rows:
        should, own = exact(problem, row), row.of(o, lengths.q_len)
        if draws:
            deviation = (should.variance / draws).sqrt()
            error = float(((own - should.o) / deviation).square().mean(1).sqrt().max())
            expect(error <= MOST_SAMPLED_ERROR, f"outputs are off by {error:.3g} standard errors")
        else:
            allowed = tolerance(should, problem.attention.dtype)
            error = float(((own - should.o).abs() / allowed).max())
            expect(error <= 1, f"outputs are off by {error:.3g} times the tolerance")
        if statistic is not None:
            error = float((row.of(statistic, lengths.q_len) - should.lse).abs().max())
            expect(error <= LSE_TOLERANCE, f"log-sum-exps are off by {error:.3g}")


def check_kernel(kernel: str, problem: Problem, options: Mapping[str, int]) -> None:
    """Check every output of a kernel on a problem; if it samples, over many draws.

    Raises:
        WrongResultError: if they are not attention.
    """
    found = call_of(kernel, problem, options)()
    check_outputs(found, problem, all_rows(problem), options)
    if not draws_of(options, problem):
        return
    runs = [output_of(call_of(kernel, problem, options, seed=s)())[0] for s in range(SEEDS)]
    outputs = torch.stack(runs).double()
    q_len, heads = problem.attention.sequences[0].q_len, problem.attention.q_heads
    should = torch.cat([exact(problem, rows).o for rows in all_rows(problem)])
    should = should.view(-1, heads, q_len, should.shape[1]).transpose(1, 2).flatten(0, 1)
    z = (outputs.mean(0) - should) / (outputs.std(0) / math.sqrt(SEEDS))
    bias, deviation = float(z.mean()), float(z.std())
    expect(abs(bias) <= MOST_BIAS, f"the mean of {SEEDS} runs is off by {bias:.3g} standard errors")
    low, high = DEVIATIONS
    expect(
        low <= deviation <= high,
        f"errors of the mean of {SEEDS} runs deviate by {deviation:.3g} standard errors",
    )


def draws_of(options: Mapping[str, int], problem: Problem) -> int:
    """Rows of V that a sampling kernel draws for a head, of all tiles; else 0."""
    if "budget" in options:
        keys = problem.attention.sequences[0].kv_len
        return options["budget"] * ceil_div(keys, options["block_n"])
    return options.get("samples", 0)


def expect(right: bool, otherwise: str) -> None:
    """Raise `WrongResultError` unless something is right."""
    if not right:
        raise WrongResultError(otherwise)
