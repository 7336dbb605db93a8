"""Shapes that are measured: grids of lengths, batches, heads and masks, for the kernels they suit.

Sized so that all of them take less than ten minutes on an H200, by the model's own predictions.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Literal

from gpusim.spec.attention import Attention, DType, Sequence

#: The project's own kernels, by the names of measured rows, in the order in which they take turns:
#: last the two whose CTAs wait for one another, or warps for other warps.
OWN = "gpusim_triton_"
SCHEDULES = ("flash2", "flash2_split_kv", "flash1", "santa_flash", "santa_prop", "lean", "flash3")
KERNELS = tuple(OWN + schedule for schedule in SCHEDULES)

Phase = Literal["prefill", "decode"]
#: (query heads, KV heads).
Heads = tuple[tuple[int, int], ...]

LLAMA_8B = (32, 8)
K = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """All combinations.

    Attributes:
        schedules: whose kernels of the project are measured.
        lengths: keys of a sequence; a prefill has as many queries, a decode one.
        batches: sequences; None: as many as have PREFILL_TOKENS tokens together.
        causal: a query at the last position sees all keys, masked or not: decode is causal.
    """

    schedules: tuple[str, ...]
    phase: Phase
    lengths: tuple[int, ...]
    batches: tuple[int | None, ...]
    heads: Heads
    head_dims: tuple[int, ...] = (64, 128)
    causal: tuple[bool, ...] = (True,)
    windows: tuple[int | None, ...] = (None,)
    dtype: DType = "bf16"

    def shapes(self) -> Iterator[Attention]:
        """Every problem, once."""
        found: dict[Attention, None] = {}
        for length, batch, heads, head_dim, causal, window in product(
            self.lengths, self.batches, self.heads, self.head_dims, self.causal, self.windows
        ):
            sequence = Sequence(
                count=batch or max(1, PREFILL_TOKENS // length),
                q_len=1 if self.phase == "decode" else length,
                kv_len=length,
            )
            found[
                Attention(
                    q_heads=heads[0],
                    kv_heads=heads[1],
                    head_dim=head_dim,
                    dtype=self.dtype,
                    causal=causal,
                    window=window,
                    sequences=(sequence,),
                )
            ] = None
        yield from found


PREFILL_TOKENS = 16 * K

GRIDS = (
    Grid(
        schedules=("flash1", "flash2", "flash3"),
        phase="prefill",
        lengths=(512, K, 2 * K, 4 * K, 8 * K, 16 * K),
        batches=(1, None),
        heads=((32, 32), LLAMA_8B, (64, 8)),
        causal=(True, False),
    ),
    Grid(
        schedules=("flash2", "flash3"),
        phase="prefill",
        lengths=(32 * K,),
        batches=(1,),
        heads=((32, 32), LLAMA_8B, (64, 8)),
        causal=(True, False),
    ),
    Grid(
        schedules=("flash2",),
        phase="prefill",
        lengths=(4 * K, 8 * K, 16 * K, 32 * K),
        batches=(1, None),
        heads=(LLAMA_8B,),
        windows=(K, 2 * K),
    ),
    Grid(
        schedules=("flash2_split_kv", "lean"),
        phase="decode",
        lengths=(K, 2 * K, 4 * K, 8 * K, 16 * K, 32 * K, 64 * K, 128 * K),
        batches=(1, 4, 16, 64, 128),
        heads=(LLAMA_8B, (64, 8), (32, 32), (8, 1)),
    ),
    Grid(
        schedules=("flash2",),
        phase="decode",
        lengths=(K, 8 * K, 64 * K),
        batches=(1, 16),
        heads=(LLAMA_8B,),
    ),
    Grid(
        schedules=("santa_flash", "santa_prop"),
        phase="decode",
        lengths=(4 * K, 8 * K, 16 * K, 32 * K, 64 * K, 128 * K),
        batches=(1, 2, 4),
        heads=(LLAMA_8B,),
    ),
)

#: Problems on which every output of a kernel is checked, with the heads of the shapes measured:
#: lengths that no tile divides, and queries that are the last of the keys.
CHECKED: dict[Phase, Sequence] = {
    "prefill": Sequence(count=2, q_len=300, kv_len=1001),
    "decode": Sequence(count=3, q_len=1, kv_len=3001),
}
#: Keys that a query sees there under a window.
CHECKED_WINDOW = 301


def shapes_of(kernel: str) -> Iterator[tuple[Phase, Attention]]:
    """Every problem that a kernel is measured on."""
    for grid in GRIDS:
        if kernel.removeprefix(OWN) in grid.schedules:
            for attention in grid.shapes():
                yield grid.phase, attention
