"""A sample of the fit sets that the project carries: `python -m validation.guard`.

A test predicts it again and fails where a median error has grown by a tenth of itself, so that no
change makes the model worse unseen, be the package of the measurements installed or not. `--write`
records the medians of today; `--draw` takes the sample anew from the package, if its rows changed.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np

from gpusim.cli.output import emit
from gpusim.errors import SpecError
from gpusim.study import aiconfigurator
from gpusim.study.accuracy import errors
from gpusim.study.datasets import read_named
from gpusim.study.measured import MeasuredRow
from gpusim.study.measured_csv import read_measured
from gpusim.study.predict_row import Prediction, predict_row
from validation.command import run_command

FOLDER = Path(__file__).parent / "fit_sample"
RECORDED = FOLDER / "medians.csv"
DATASETS = tuple(
    f"{aiconfigurator.PREFIX}{name}"
    for name in ("a100_sxm/sglang", "a100_sxm/vllm", "h100_sxm/sglang", "l40s/vllm")
)
#: Rows of a sample, and how many of them, the first ones, each engine predicts.
ROWS, SEED = 80, 0
SCORED = {"analytic": ROWS, "sim": 24}
#: A median may be so many times the recorded one.
WORSE = 1.1


class Median(NamedTuple):
    """Median absolute error of a dataset's sample by one engine."""

    dataset: str
    engine: str
    rows: int
    median_ape: float


def file_of(dataset: str) -> Path:
    """The sample of a dataset.

    >>> file_of("aiconfigurator:l40s/vllm").name
    'l40s_vllm.csv'
    """
    return FOLDER / f"{dataset.removeprefix(aiconfigurator.PREFIX).replace('/', '_')}.csv"


def drawn(dataset: str) -> list[MeasuredRow]:
    """The sample as the installed package gives it, in the order of the draw.

    Raises:
        SpecError: without the extra `measurements`.
    """
    rows, _ = read_named(dataset)
    order = np.random.default_rng(SEED).choice(len(rows), ROWS, replace=False)
    return [rows[index] for index in order]


def carried(dataset: str) -> list[MeasuredRow]:
    """The sample as the project carries it."""
    return read_measured(file_of(dataset))


def median_of(dataset: str, engine: str) -> Median:
    """How far predictions lie from a sample now.

    Raises:
        SpecError: if a row cannot be predicted.
    """
    predictions: list[Prediction] = []
    for row in carried(dataset)[: SCORED[engine]]:
        outcome = predict_row(row, engine)
        if isinstance(outcome, str):
            raise SpecError(f"{file_of(dataset)}: expected rows that can be predicted: {outcome}")
        predictions.append(outcome)
    found = errors([p.predicted_us for p in predictions], [p.row.measured_us for p in predictions])
    return Median(dataset, engine, found["rows"], found["median_ape"])


def recorded() -> list[Median]:
    """The medians when they were last written."""
    with RECORDED.open(encoding="utf-8", newline="") as file:
        return [
            Median(row["dataset"], row["engine"], int(row["rows"]), float(row["median_ape"]))
            for row in csv.DictReader(file)
        ]


def is_worse(now: Median, then: Median) -> bool:
    """Whether the error grew by more than a tenth, or is of other rows."""
    return now.rows != then.rows or now.median_ape > WORSE * then.median_ape


def record(datasets: Sequence[str] = DATASETS) -> list[Median]:
    """Write the medians of today, and return them."""
    medians = [median_of(name, engine) for name in datasets for engine in SCORED]
    rows = [m._asdict() | {"median_ape": f"{m.median_ape:.5f}"} for m in medians]
    emit(rows, str, style="csv", output=RECORDED)
    return medians


@click.command()
@click.option("--write", is_flag=True, help="Record the medians that the test compares with.")
@click.option("--draw", is_flag=True, help="Take the sample from the package first.")
def main(*, write: bool, draw: bool) -> None:
    """Predict the sample that the project carries, and print its median errors."""
    for name in DATASETS if draw else ():
        emit([row.as_row() for row in drawn(name)], str, style="csv", output=file_of(name))
    medians = record() if write else [median_of(n, e) for n in DATASETS for e in SCORED]
    for name, engine, rows, median in medians:
        click.echo(f"{name}, {engine}, {rows} rows: {100 * median:.2f} %")


if __name__ == "__main__":
    run_command(main, "guard")
