"""What the two SANTA kernels share: shapes they take, tile length, compiled resources, score stage.

SANTA ("Stochastic Sparse Attention for Memory-Bound Inference", arXiv 2605.01910) keeps QKᵀ and
the softmax of decode exact and replaces PV by the mean of S sampled value rows, so that most of V
is never read. Source: the release, github.com/OPUSLab/SANTA at 2e5f861. Registers, shared memory
and instruction counts were read from its kernels as nvcc 13.0 compiles them (bf16).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from gpusim.errors import SpecError
from gpusim.schedules.columns import Floats, Ints
from gpusim.schedules.step import Part, Pipe
from gpusim.schedules.work import Tiles, Work
from gpusim.spec.attention import Attention
from gpusim.spec.gpu import Gpu

#: Standard deviation of the attention logits, unless given: in the middle of the 0 to 4 that are
#: worked through in the tests. It is an assumption about the data, like the lengths.
LOGIT_SIGMA = 2.0
STAT_BYTES = 8  # fp32 maximum and sum of a tile and head
DEFAULT_SMEM = 48 * 1024  # the kernels do not opt in to more

#: Registers a thread by kernel on sm_80 (and 86), sm_89, sm_90.
REGISTERS = {
    "fused_tiles": (47, 48, 48),
    "finalize": (32, 40, 32),
    "pass1_vec": (40, 40, 48),
    "pass1_wmma": (61, 54, 45),
    "tile_budgets": (32, 34, 40),
    "pass2": (32, 39, 32),
    "cast_scale": (8, 8, 10),
}
_COLUMN = {"sm_80": 0, "sm_86": 0, "sm_89": 1, "sm_90": 2}
#: Warp instructions that score one K row for a group of four heads.
ROW_INSTRUCTIONS = (88, 90, 97)
#: Of which: shuffles (5 halvings x 4 heads), and 16 FFMA + 20 FADD + 4 FMNMX.
ROW_SHUFFLES, ROW_FP32 = 20, 40


def registers(kernel: str, gpu: Gpu) -> int:
    """Registers a thread of a kernel, as compiled for the GPU's architecture."""
    return REGISTERS[kernel][_COLUMN[gpu.architecture]]


def row_instructions(gpu: Gpu) -> int:
    """Warp instructions of the fused kernel for one K row."""
    return ROW_INSTRUCTIONS[_COLUMN[gpu.architecture]]


def tile_keys(kv_len: int) -> int:
    """Keys of a tile (`_auto_block_n_from_L`): 32 up to 1536, 64 up to 3072, else 256.

    >>> [tile_keys(n) for n in (1536, 1537, 3072, 3073)]
    [32, 64, 64, 256]
    """
    return 32 if kv_len <= 1536 else 64 if kv_len <= 3072 else 256


def check_decode(attention: Attention) -> None:
    """Refuse what neither kernel takes.

    Raises:
        SpecError: unless it is decode of 16-bit heads over a contiguous cache, all keys in sight.
    """
    expect("attention.dtype", "fp16 or bf16", attention.dtype, ok=attention.dtype != "fp8")
    same = attention.cache_dtype == attention.dtype
    expect("attention.kv_dtype", f"dtype ({attention.dtype})", attention.cache_dtype, ok=same)
    dim = attention.head_dim
    expect("attention.v_head_dim", f"head_dim ({dim})", attention.value_dim, ok=_square(attention))
    expect("attention.window", "none", attention.window, ok=attention.window is None)
    paged = attention.page_size is not None
    expect("attention.page_size", "none, a contiguous cache", attention.page_size, ok=not paged)
    for i, s in enumerate(attention.sequences):
        expect(f"sequences[{i}].q_len", "1 (SANTA replaces decode only)", s.q_len, ok=s.q_len == 1)


def one_length(attention: Attention) -> int:
    """The length that all sequences share.

    Raises:
        SpecError: if they differ.
    """
    kv_len = attention.sequences[0].kv_len
    for i, s in enumerate(attention.sequences):
        one = f"one length in all the batch ({kv_len})"
        expect(f"sequences[{i}].kv_len", one, s.kv_len, ok=s.kv_len == kv_len)
    return kv_len


def expect(field: str, expected: str, found: object, *, ok: bool) -> None:
    """Raise a `SpecError` unless all is well."""
    if not ok:
        raise SpecError(f"{field}: expected {expected}, found {found}")


def _square(attention: Attention) -> bool:
    return attention.value_dim == attention.head_dim


@dataclass(frozen=True, slots=True)
class KeyTiles:
    """The keys of one sequence in tiles of `block_n`, the last one maybe shorter."""

    kv_len: int
    block_n: int

    @property
    def start(self) -> Ints:
        """First key of each tile."""
        return np.arange(0, self.kv_len, self.block_n)

    @property
    def stop(self) -> Ints:
        """End of each tile."""
        return np.minimum(self.start + self.block_n, self.kv_len)

    @property
    def rows(self) -> int:
        """Keys of a full tile, or of the only one."""
        return min(self.block_n, self.kv_len)


def tile_work(
    attention: Attention, keys: KeyTiles, *, batch: int, loop: Floats, store: ArrayLike
) -> Work:
    """An item per (tile, KV head, sequence), in this order, of the group's heads together.

    Args:
        attention: the problem.
        keys: tiles of each of `batch` sequences.
        batch: sequences.
        loop: bytes read after Q, a row per tile.
        store: bytes written, for each tile or for all alike.
    """
    ones, group = np.ones_like(keys.start), attention.group_size
    q_bytes = group * attention.head_dim * attention.element_bytes
    return Work(
        tiles=Tiles(
            steps=ones,
            q_start=0 * ones,
            q_rows=group * ones,
            kv_start=keys.start,
            kv_stop=keys.stop,
            loop_bytes=loop,
            load_bytes=np.full(len(ones), float(q_bytes)),
            store_bytes=np.broadcast_to(np.asarray(store, float), len(ones)),
        ),
        group_first=np.zeros(1, dtype=np.int64),
        group_rows=np.array([len(ones)]),
        copies=np.array([batch]),
        heads=attention.kv_heads,
        heads_inner=True,
        packed=group,
    )


def stash_bytes(attention: Attention, gpu: Gpu, lengths: Floats) -> Floats:
    """Bytes that a group's weights of so many keys take on their way, in a [keys, heads] stash.

    A key's few bytes cost a sector, unless the rows of all heads are shorter than one.
    """
    row = attention.q_heads * attention.element_bytes
    return lengths * min(gpu.hbm.sector_bytes, row)


def score_parts(keys: int, heads: int, instructions: int) -> Iterator[Part]:
    """CUDA-core scores and weights of one tile for a group of heads; no tensor cores.

    A warp takes a K row at a time: a lane multiplies 4 of its 128 elements with 4 heads' queries,
    and shuffles sum the products over the lanes. Amounts of shuffles and FP32 are lane results.
    """
    yield Part(
        "score",
        {
            Pipe.ISSUE: float(keys * instructions),
            Pipe.SHUFFLE: 32.0 * keys * ROW_SHUFFLES,
            Pipe.FP32: 32.0 * keys * ROW_FP32,
        },
    )
    yield Part("exp2", {Pipe.EXP2: float(keys * heads), Pipe.CONVERT: float(keys * heads)})


def sampling_part(keys: int, heads: int) -> Part:
    """Counts by 32-wide scans of 7 shuffles, one warp a head, and the list of rows, one warp."""
    scans = keys / 32 * (heads + 1)
    return Part("count", {Pipe.SHUFFLE: 32 * 7 * scans, Pipe.CONVERT: 2.0 * keys * heads})
