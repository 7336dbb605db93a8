"""Predicted times of measured rows on versions of a profile, shared out to processes."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self

import numpy as np

from gpusim.errors import SpecError
from gpusim.spec.gpu import Gpu
from gpusim.study.fit import Matrix
from gpusim.study.measured import MeasuredRow
from gpusim.study.predict_row import predict_row
from gpusim.study.processes import Processes

#: Rows of a task of a process.
CHUNK = 32

_Task = tuple[Gpu, Sequence[MeasuredRow], str]


class RowTimes:
    """Predicts rows; holds its processes until the end of the `with` block."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._pool: Processes | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.__exit__(kind, error, at)

    def predictable(
        self, rows: Sequence[MeasuredRow], gpu: Gpu
    ) -> tuple[list[MeasuredRow], Counter[str]]:
        """Rows that can be predicted, and how many cannot by reason."""
        outcomes = list(self._outcomes([gpu], rows, "analytic"))
        good = [row for row, out in zip(rows, outcomes, strict=True) if not isinstance(out, str)]
        return good, Counter(out for out in outcomes if isinstance(out, str))

    def of(self, gpus: Sequence[Gpu], rows: Sequence[MeasuredRow], engine: str) -> Matrix:
        """Microseconds, a line a profile and a column a row.

        Raises:
            SpecError: for a row that cannot be predicted.
        """
        times = []
        for outcome in self._outcomes(gpus, rows, engine):
            if isinstance(outcome, str):
                raise SpecError(outcome)
            times.append(outcome)
        return np.array(times).reshape(len(gpus), len(rows))

    def _outcomes(
        self, gpus: Sequence[Gpu], rows: Sequence[MeasuredRow], engine: str
    ) -> Iterator[float | str]:
        tasks: list[_Task] = [
            # Sources are for readers; without them a profile travels in a tenth of the time.
            (gpu.model_copy(update={"provenance": {}}), rows[i : i + CHUNK], engine)
            for gpu in gpus
            for i in range(0, len(rows), CHUNK)
        ]
        done: Iterable[list[float | str]]
        if self._workers <= 1 or len(tasks) <= 1:
            done = map(_predicted, tasks)
        else:
            if self._pool is None:
                self._pool = Processes(self._workers)
            done = self._pool.map(_predicted, tasks)
        for outcomes in done:
            yield from outcomes


def _predicted(task: _Task) -> list[float | str]:
    gpu, rows, engine = task
    found = [predict_row(row, engine, profile=lambda _: gpu) for row in rows]
    return [p if isinstance(p, str) else p.predicted_us for p in found]
