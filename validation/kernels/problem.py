"""An attention problem in memory: queries, keys and values of a ragged batch, packed."""

from dataclasses import dataclass

import torch

from gpusim.schedules.triton_santa import MAX_DRAWS, ROWS
from gpusim.spec.attention import Attention

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Tensors of a problem, contiguous.

    Attributes:
        attention: heads, lengths, mask; its `dtype` is that of the tensors.
        q: [queries, q_heads, head_dim], sequence after sequence.
        k, v: [keys, kv_heads, head_dim].
        q_starts, kv_starts: first query and key of each sequence, and one past the last; int32.
    """

    attention: Attention
    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    q_starts: torch.Tensor
    kv_starts: torch.Tensor

    @property
    def batch(self) -> int:
        """Sequences."""
        return len(self.q_starts) - 1

    @property
    def q_lens(self) -> list[int]:
        """Queries of each sequence."""
        return [s.q_len for s in self.attention.sequences for _ in range(s.count)]

    @property
    def kv_lens(self) -> list[int]:
        """Keys of each sequence."""
        return [s.kv_len for s in self.attention.sequences for _ in range(s.count)]


def random_problem(attention: Attention, *, seed: int = 0, device: str = "cpu") -> Problem:
    """Normal variates for q, k and v; the same for the same seed and device.

    Raises:
        ValueError: for what the kernels do not take: head sizes that are no power of two from 16 to
            256, values as wide as no key, types beyond 16 bit, paged caches.
    """
    d = attention.head_dim
    if d not in (16, 32, 64, 128, 256) or attention.value_dim != d:
        raise ValueError(f"head_dim: expected 16, 32, 64, 128 or 256 for K and V, found {d}")
    if attention.dtype not in DTYPES or attention.cache_dtype != attention.dtype:
        raise ValueError(f"dtype: expected fp16 or bf16 for all, found {attention.dtype}")
    if attention.page_size is not None:
        raise ValueError(f"page_size: expected none, found {attention.page_size}")
    generator = torch.Generator(device).manual_seed(seed)
    q_lens, kv_lens = (
        [getattr(s, name) for s in attention.sequences for _ in range(s.count)]
        for name in ("q_len", "kv_len")
    )

    def normal(tokens: int, heads: int) -> torch.Tensor:
        shape = (tokens, heads, d)
        return torch.randn(shape, generator=generator, device=device).to(DTYPES[attention.dtype])

    return Problem(
        attention=attention,
        q=normal(sum(q_lens), attention.q_heads),
        k=normal(sum(kv_lens), attention.kv_heads),
        v=normal(sum(kv_lens), attention.kv_heads),
        q_starts=_starts(q_lens, device),
        kv_starts=_starts(kv_lens, device),
    )


def fits(problem: Problem) -> Attention:
    """The problem's attention, if the kernels' 32-bit offsets within a sequence hold it.

    Raises:
        ValueError: for a sequence of 2^31 elements of K or more.
    """
    attention = problem.attention
    elements = max(problem.kv_lens) * attention.kv_heads * attention.head_dim
    if elements >= 2**31:
        raise ValueError(f"kv_len: expected below 2^31 elements of K a sequence, found {elements}")
    return attention


def decode_batch(problem: Problem, *, most_draws: int) -> tuple[Attention, int]:
    """The problem's attention and its one length, if SANTA's kernels take it.

    Raises:
        ValueError: unless every sequence brings one query to as many keys as the others, all in
            sight, with at most 16 query heads a group and 256 draws a head and tile.
    """
    attention, lengths = fits(problem), set(problem.kv_lens)
    if not attention.single_query or len(lengths) > 1 or attention.effective_window is not None:
        raise ValueError("sequences: expected one query each, one kv_len for all, and no window")
    if attention.group_size > ROWS or not 1 <= most_draws <= MAX_DRAWS:
        raise ValueError(
            f"expected at most 16 query heads a group and 1 to 256 draws a head and tile,"
            f" found {attention.group_size} and {most_draws}"
        )
    return attention, lengths.pop()


def _starts(lengths: list[int], device: str) -> torch.Tensor:
    return torch.tensor([0, *lengths], device=device).cumsum(0).to(torch.int32)
