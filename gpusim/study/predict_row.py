"""The prediction of one measured row, with a roofline beside it."""

from dataclasses import dataclass
from typing import Any

from gpusim.errors import SpecError
from gpusim.result import Result
from gpusim.schedules.catalogue import problem_of
from gpusim.spec.gpu import Gpu
from gpusim.spec.load import load_gpu
from gpusim.study.measured import MeasuredRow
from gpusim.study.simulate import simulate


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What the model and a roofline say of one measured row."""

    row: MeasuredRow
    predicted_us: float
    roofline_us: float
    bound: str

    def as_row(self) -> dict[str, Any]:
        """The measured row with its prediction."""
        added = {name: getattr(self, name) for name in ("predicted_us", "roofline_us", "bound")}
        return self.row.as_row() | added


def predict_row(row: MeasuredRow, engine: str) -> Prediction | str:
    """The prediction of a row, or why there is none."""
    gpu = load_gpu(row.gpu)
    try:
        result = simulate(row.attention, gpu, row.kernel, engine, l2=row.l2, load="benchmark")
    except SpecError as error:
        return f"{row.gpu}, {row.kernel}: {str(error).removeprefix(f'schedule {row.kernel}: ')}"
    return Prediction(
        row=row,
        predicted_us=result.time_us,
        roofline_us=roofline_us(row, gpu, result),
        bound=result.bound,
    )


def roofline_us(row: MeasuredRow, gpu: Gpu, result: Result) -> float:
    """The greater of useful FLOP at peak (boost clock) and compulsory bytes at peak bandwidth."""
    dtype = problem_of(row.kernel, row.attention).dtype
    paths = (gpu.tensor.mma_sync_flop_per_clock, gpu.tensor.wgmma_flop_per_clock)
    flop_per_clock = max(path.get(dtype, 0.0) for path in paths)
    flop_per_us = flop_per_clock * gpu.sm.count * gpu.clock.boost_mhz
    bytes_per_us = gpu.hbm.peak_gb_per_s * 1e3
    return max(result.useful_flop / flop_per_us, result.compulsory_bytes / bytes_per_us)
