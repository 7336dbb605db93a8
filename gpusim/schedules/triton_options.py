"""How the project's own Triton kernels are launched: tiles, splits, workers, and the build of each.

Tiles are the same on every architecture and head size; kernel and model take them from here.
"""

from gpusim.errors import SpecError
from gpusim.schedules.combine import flash2_combine
from gpusim.schedules.occupancy import slots_of
from gpusim.schedules.outputs import list_outputs
from gpusim.schedules.splits import flash1_num_splits, flash2_num_splits
from gpusim.schedules.stream_k import lean_workers
from gpusim.schedules.tile import Tile
from gpusim.spec.attention import Attention
from gpusim.spec.compiled import CompiledKernel, compiled_kernel
from gpusim.spec.gpu import Gpu
from gpusim.units import ceil_div

Options = dict[str, int]

FLASH1 = {"block_n": 128, "num_warps": 4, "stages": 1}
FLASH2 = {"block_m": 128, "block_n": 64, "num_warps": 8, "stages": 2}
#: Decode: the 16 rows of a matrix instruction hold the packed heads of a group.
SPLIT_KV = {"block_m": 16, "block_n": 64, "num_warps": 4, "stages": 3}
LEAN = SPLIT_KV
FLASH3 = {"block_m": 128, "block_n": 128, "stages": 2}


def flash1_options(attention: Attention, gpu: Gpu) -> Options:
    """Version 1's split heuristic, with the CTAs of this build that fit."""
    build = build_of("flash1_fwd", attention, gpu, FLASH1)
    steps = ceil_div(max(s.q_len for s in attention.sequences), 16)
    batch_heads = attention.batch * attention.q_heads
    slots = slots_of(gpu, **build.resources)
    return FLASH1 | {"num_splits": flash1_num_splits(batch_heads, slots, steps)}


def flash2_options(attention: Attention, gpu: Gpu) -> Options:  # noqa: ARG001
    """The tile."""
    return FLASH2


def split_kv_options(attention: Attention, gpu: Gpu) -> Options:
    """FlashAttention-2's split heuristic, with the CTAs of this build that fit."""
    build = build_of("split_fwd", attention, gpu, SPLIT_KV)
    rows = max(s.q_len for s in attention.sequences) * attention.group_size
    tiles = attention.batch * attention.kv_heads * ceil_div(rows, SPLIT_KV["block_m"])
    blocks = ceil_div(max(s.kv_len for s in attention.sequences), SPLIT_KV["block_n"])
    splits = flash2_num_splits(tiles, slots_of(gpu, **build.resources), blocks)
    combine_rows = flash2_combine(attention.head_dim).block_m
    return SPLIT_KV | {"num_splits": splits, "combine_rows": combine_rows}


def lean_options(attention: Attention, gpu: Gpu) -> Options:
    """LeanAttention's grid of at most two workers an SM."""
    block_m, block_n = LEAN["block_m"], LEAN["block_n"]
    tile = Tile(
        block_m=block_m, block_n=block_n, num_warps=LEAN["num_warps"], head_dim=attention.head_dim
    )
    check_problem(attention)
    outputs = list_outputs(attention, tile, attention.group_size)
    longest = ceil_div(max(s.kv_len for s in attention.sequences), tile.block_n)
    workers = lean_workers(outputs.total_tiles, len(outputs), longest, gpu.sm.count)
    return LEAN | {"workers": workers}


def flash3_options(attention: Attention, gpu: Gpu) -> Options:  # noqa: ARG001
    """The tile."""
    return FLASH3


def build_of(kernel: str, attention: Attention, gpu: Gpu, options: Options) -> CompiledKernel:
    """The build for a problem.

    Raises:
        SpecError: for a problem that no kernel takes, or an architecture without builds.
    """
    check_problem(attention)
    known = {key: options[key] for key in options if key in CompiledKernel.__dataclass_fields__}
    shape = {"head_dim": attention.head_dim, "causal": attention.causal}
    return compiled_kernel(kernel, gpu.architecture, **shape, **known)


def check_problem(attention: Attention) -> None:
    """Refuse what no kernel of the project takes.

    Raises:
        SpecError: for other head sizes than 64 and 128, FP8, or a paged cache.
    """
    dims = (attention.head_dim, attention.value_dim)
    if dims not in ((64, 64), (128, 128)):
        raise SpecError(
            f"attention.head_dim: expected 64 or 128 for K and V, found {dims[0]} and {dims[1]}"
        )
    for field, dtype in (("dtype", attention.dtype), ("kv_dtype", attention.cache_dtype)):
        if dtype == "fp8":
            raise SpecError(f"attention.{field}: expected fp16 or bf16, found fp8")
    if attention.page_size is not None:
        raise SpecError(f"attention.page_size: expected none, found {attention.page_size}")
