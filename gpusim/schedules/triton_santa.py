"""What the project's own two SANTA kernels share (`validation/kernels/sampling.py`).

Unlike the release's, they multiply on tensor cores, heads padded to the 16 rows of an instruction,
and load a row of V once that several heads of a group have drawn.
"""

import numpy as np

from gpusim.schedules import santa
from gpusim.schedules.columns import Floats
from gpusim.schedules.launch import Operand
from gpusim.schedules.mask import q_bytes
from gpusim.schedules.sampling import union_rows
from gpusim.schedules.step import Part, Pipe, Step
from gpusim.schedules.triton_options import check_problem
from gpusim.schedules.work import Work
from gpusim.spec.attention import Attention
from gpusim.spec.compiled import CompiledKernel, compiled_kernel
from gpusim.spec.gpu import Gpu

ROWS = 16
MAX_DRAWS = 256  # a head and tile: greater counts are not exact in bf16


def key_tiles(attention: Attention, block_n: int) -> santa.KeyTiles:
    """Tiles of the one length of a batch.

    Raises:
        SpecError: for a problem that the kernels do not take.
    """
    check_problem(attention)
    santa.check_decode(attention)
    group = attention.group_size
    santa.expect("attention.kv_heads", f"at most {ROWS} query heads each", group, ok=group <= ROWS)
    return santa.KeyTiles(santa.one_length(attention), block_n)


def build(kernel: str, attention: Attention, gpu: Gpu, **more: int) -> CompiledKernel:
    """The build of a kernel for the problem's head size."""
    return compiled_kernel(kernel, gpu.architecture, head_dim=attention.head_dim, **more)


def product(attention: Attention, name: str, block_n: int) -> Part:
    """Padded heads by a tile of K or V, which is written to shared memory and read once."""
    elements = float(block_n * attention.head_dim)
    staged = 2 * elements * attention.element_bytes
    return Part(name, {Pipe.TENSOR: 2 * ROWS * elements, Pipe.SMEM: staged})


def weighing(attention: Attention, block_n: int) -> tuple[Part, ...]:
    """Scores and weights."""
    padded = float(ROWS * block_n)
    exps = Part("exp2", {Pipe.EXP2: padded, Pipe.FP32: 3 * padded})
    return product(attention, "qk", block_n), exps


def sampling(attention: Attention, block_n: int) -> tuple[Part, ...]:
    """Running sums by scans of 5 shuffles over 32 keys, floors; then the drawn rows."""
    padded = float(ROWS * block_n)
    count = {Pipe.SHUFFLE: 5 * padded, Pipe.FP32: 9 * padded, Pipe.CONVERT: padded}
    return Part("count", count), product(attention, "pv", block_n)


def tile_step(attention: Attention, parts: tuple[Part, ...], load_bytes: float) -> Step:
    """A whole tile in one step, its loads one after another and waited for."""
    products = sum(Pipe.TENSOR in part.amounts for part in parts)
    return Step(
        tracks=(parts,),
        matrix_dtype=attention.dtype,
        load_bytes=load_bytes,
        loads=products,
        prefetch=False,
    )


def drawn_bytes(attention: Attention, lengths: Floats, distinct: Floats) -> Floats:
    """Bytes of V that a group loads of tiles of so many keys, if a head draws `distinct` rows."""
    pairs = zip(lengths, distinct, strict=True)
    rows = [union_rows(int(n), float(d), attention.group_size) for n, d in pairs]
    return np.array(rows) * attention.head_dim * attention.element_bytes


def queries(attention: Attention, work: Work) -> Operand:
    """Q, loaded again for every tile."""
    asked = work.total(work.tiles.load_bytes)
    return Operand(name="q", unique_bytes=q_bytes(attention), requested_bytes=asked)
