"""What the pipes of an SM do per clock."""

from gpusim.errors import SpecError
from gpusim.schedules.step import Pipe, Step
from gpusim.spec.gpu import Gpu

_RATES = {
    Pipe.EXP2: "exp2_per_clock",
    Pipe.FP32: "fp32_per_clock",
    Pipe.CONVERT: "convert_per_clock",
    Pipe.SMEM: "smem_bytes_per_clock",
    Pipe.SHUFFLE: "shuffle_per_clock",
    Pipe.ISSUE: "issue_warps_per_clock",
}


def pipe_rate(gpu: Gpu, step: Step, pipe: Pipe) -> float:
    """What a pipe does per clock and SM.

    Raises:
        SpecError: if the GPU has no such matrix instruction.
    """
    if pipe is Pipe.TENSOR:
        return tensor_rate(gpu, step.matrix_path, step.matrix_dtype)
    rate: float = getattr(gpu.pipes, _RATES[pipe])
    return rate


def tensor_rate(gpu: Gpu, path: str, dtype: str) -> float:
    """Matrix FLOP per clock and SM on an instruction path, as kernels reach it."""
    tensor = gpu.tensor
    rates = tensor.wgmma_flop_per_clock if path == "wgmma" else tensor.mma_sync_flop_per_clock
    if not rates:
        raise SpecError(f"expected a GPU with {path} instructions, found {gpu.name}")
    if dtype not in rates:
        raise SpecError(
            f"{gpu.name}: expected a data type with {path} ({', '.join(rates)}), found {dtype}"
        )
    return rates[dtype] * (1.0 if path == "wgmma" else tensor.mma_sync_achieved_fraction)
