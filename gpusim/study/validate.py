"""Predictions against measured rows: the model and a roofline on the same rows."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gpusim.errors import SpecError, plain
from gpusim.spec.load import load_gpu, load_uncalibrated
from gpusim.study.ablation import check_effects
from gpusim.study.accuracy import FLOOR_US, SIZES, errors, median_errors, size_of
from gpusim.study.datasets import is_dataset, read_named, suggestion
from gpusim.study.measured import MeasuredRow
from gpusim.study.measured_csv import read_measured
from gpusim.study.pairs import pairs_of, share_right
from gpusim.study.predict_row import Prediction, predict_row
from gpusim.study.processes import Processes
from gpusim.study.simulate import check_engine
from gpusim.units import ceil_div

#: Fewer rows than these are not worth another process.
ROWS_PER_WORKER = 32
#: Rows of a task of a process.
CHUNK = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """Predictions, and how many rows were left out: of the inputs, and of the rows tried.

    `without` are the effects that were switched off.
    """

    predictions: list[Prediction]
    not_read: Counter[str]
    refused: Counter[str]
    without: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Statistics of all rows, of those above 50 us, and by GPU, kernel, phase and size.

        `pairs` says how often the model picks the faster of two kernels on one problem.
        """
        keys: dict[tuple[str, ...], list[Prediction]] = {}
        for p in self.predictions:
            key = (p.row.gpu, p.row.kernel, p.row.phase, size_of(p.row.measured_us))
            keys.setdefault(key, []).append(p)
        sizes = [name for name, _ in SIZES]
        names = ("gpu", "kernel", "phase", "size")
        ordered = sorted(keys, key=lambda key: (*key[:3], sizes.index(key[3])))
        long = [p for p in self.predictions if p.row.measured_us > FLOOR_US]
        return {
            "without": list(self.without),
            **_statistics(self.predictions),
            "pairs": share_right(pairs_of(self.predictions)),
            "above_50us": _statistics(long),
            "groups": [
                dict(zip(names, key, strict=True)) | _statistics(keys[key]) for key in ordered
            ],
            "left_out": [
                {"reason": reason, "rows": count, "of": of}
                for of, counts in (("all rows", self.not_read), ("rows tried", self.refused))
                for reason, count in counts.most_common()
            ],
        }

    def trend(self) -> list[tuple[float, float]]:
        """(measured us, median signed error) along measured time."""
        return median_errors(*_times(self.predictions))


Progress = Callable[[int], None]


def validate(
    sources: Sequence[str],
    *,
    engine: str = "sim",
    uncalibrated: bool = False,
    workers: int | None = None,
    sample: int | None = None,
    seed: int = 0,
    without: Sequence[str] = (),
    progress: Callable[[int], AbstractContextManager[Progress]] | None = None,
) -> Validation:
    """Predict measured rows, under the clocks of a benchmark.

    Args:
        sources: CSV files, or datasets (`published`, `aiconfigurator:a100_sxm/vllm`); their rows
            are joined.
        engine: 'sim' or 'analytic'.
        uncalibrated: with nothing in the profiles calibrated, as for a GPU that nobody measured.
        workers: processes; as many as there are CPUs by default.
        sample: predict so many rows, drawn at random by `seed`; by default all.
        seed: of the draw.
        without: effects that are switched off (`gpusim.study.ablation`).
        progress: told how many rows there are, gives what to call with the number done.

    Raises:
        SpecError: for a mistake in a file, an unknown dataset, or if no row can be predicted.
    """
    check_engine(engine)
    without = check_effects(without)
    rows, not_read = read_sources(sources)
    if sample is not None and sample < len(rows):
        drawn = np.random.default_rng(seed).choice(len(rows), sample, replace=False)
        rows = [rows[i] for i in np.sort(drawn)]
    predictions, refused = [], Counter[str]()
    profile = load_uncalibrated if uncalibrated else load_gpu
    work = partial(predict_row, engine=engine, without=without, profile=profile)
    with progress(len(rows)) if progress else nullcontext(lambda _: None) as step:
        for outcome in outcomes(rows, work, workers or os.cpu_count() or 1):
            if isinstance(outcome, str):
                refused[outcome] += 1
            else:
                predictions.append(outcome)
            step(1)
    if not predictions:
        reason = next(iter((*refused, *not_read)), "no rows")
        raise SpecError(f"{sources[0]}: expected a row that can be predicted, found none: {reason}")
    return Validation(predictions=predictions, not_read=not_read, refused=refused, without=without)


def read_sources(sources: Sequence[str]) -> tuple[list[MeasuredRow], Counter[str]]:
    """All rows of files and datasets, and why others were left out."""
    rows: list[MeasuredRow] = []
    left_out: Counter[str] = Counter()
    for source in dict.fromkeys(sources):
        if is_dataset(source):
            more, out = read_named(source)
            rows += more
            left_out += out
        elif Path(source).suffix == ".csv" or Path(source).is_file():
            rows += read_measured(Path(source))
        else:
            hint = suggestion(source)
            raise SpecError(f"{plain(source)}: expected a CSV file or a dataset{hint}")
    return rows, left_out


def outcomes(
    rows: Sequence[MeasuredRow],
    work: Callable[[MeasuredRow], Prediction | str],
    workers: int,
) -> Iterator[Prediction | str]:
    """Outcomes in the order of the rows, whichever process finds them."""
    workers = min(workers, ceil_div(len(rows), ROWS_PER_WORKER))
    if workers <= 1:
        yield from map(work, rows)
        return
    parts = [rows[i : i + CHUNK] for i in range(0, len(rows), CHUNK)]
    with Processes(workers) as processes:
        for found in processes.map(partial(_outcomes, work), parts):
            yield from found


def _outcomes(
    work: Callable[[MeasuredRow], Prediction | str], rows: Sequence[MeasuredRow]
) -> list[Prediction | str]:
    return [work(row) for row in rows]


def _statistics(predictions: Sequence[Prediction]) -> dict[str, Any]:
    predicted, measured = _times(predictions)
    model = errors(predicted, measured)
    return model | {"roofline": errors([p.roofline_us for p in predictions], measured)}


def _times(predictions: Sequence[Prediction]) -> tuple[list[float], list[float]]:
    return [p.predicted_us for p in predictions], [p.row.measured_us for p in predictions]
