"""The prediction of one measured row, with a roofline beside it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from gpusim.errors import SpecError
from gpusim.result import Result
from gpusim.schedules.catalogue import problem_of
from gpusim.spec.gpu import Gpu
from gpusim.spec.load import load_gpu
from gpusim.study.measured import MeasuredRow
from gpusim.study.simulate import simulate
from gpusim.units import US_PER_S


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


def predict_row(
    row: MeasuredRow,
    engine: str,
    *,
    without: Sequence[str] = (),
    profile: Callable[[str], Gpu] = load_gpu,
) -> Prediction | str:
    """The prediction of a row, without some effects, on the profile of its GPU; or why none.

    Under the clocks of a benchmark; for the share of the timed calls that runs after the power
    limit has begun to act, slower by as much as steady clocks slow the closed form.
    """
    gpu = profile(row.gpu)
    predict = partial(simulate, row.attention, gpu, row.kernel, l2=row.l2, without=without)
    try:
        result = predict(engine, load="benchmark")
        late = limited_share(gpu, row.calls, result.time_us)
        slowdown = 1.0
        if late:
            limited, free = (predict("analytic", load=x).time_us for x in ("steady", "benchmark"))
            slowdown += late * (limited / free - 1)
    except SpecError as error:
        return f"{row.gpu}, {row.kernel}: {str(error).removeprefix(f'schedule {row.kernel}: ')}"
    return Prediction(
        row=row,
        predicted_us=result.time_us * slowdown,
        roofline_us=roofline_us(row, gpu, result),
        bound=result.bound,
    )


def limited_share(gpu: Gpu, calls: tuple[int, int] | None, time_us: float) -> float:
    """Share of the timed calls after `clock.power_limit_delay_s` of continuous load.

    Calls of 10 ms from the 7th to the 12th run from 60 to 120 ms; the L40S's limit acts at 72 ms:

    >>> limited_share(load_gpu("l40s"), (6, 12), 1e4)
    0.8
    """
    if calls is None:
        return 0.0
    begin, end = (count * time_us / US_PER_S for count in calls)
    late = end - max(begin, gpu.clock.power_limit_delay_s)
    return round(min(1.0, max(0.0, late / (end - begin))), 9)


def roofline_us(row: MeasuredRow, gpu: Gpu, result: Result) -> float:
    """The greater of useful FLOP at peak (boost clock) and compulsory bytes at peak bandwidth."""
    dtype = problem_of(row.kernel, row.attention).dtype
    paths = (gpu.tensor.mma_sync_flop_per_clock, gpu.tensor.wgmma_flop_per_clock)
    flop_per_clock = max(path.get(dtype, 0.0) for path in paths)
    flop_per_us = flop_per_clock * gpu.sm.count * gpu.clock.boost_mhz
    bytes_per_us = gpu.hbm.peak_gb_per_s * 1e3
    return max(result.useful_flop / flop_per_us, result.compulsory_bytes / bytes_per_us)
