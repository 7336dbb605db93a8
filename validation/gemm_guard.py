"""Measured matrix products that the project carries: `python -m validation.gemm_guard`.

A test predicts them again and fails where a median error has grown by 0.15 of itself. `--write`
records the medians of today; `--draw` takes the rows anew from the package.
"""

import csv
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np

from gpusim.cli.output import emit
from gpusim.study.accuracy import errors
from gpusim.study.gemm_rows import GemmRow, predict_gemm_row, read_gemms
from validation.command import run_command

FOLDER = Path(__file__).parent / "gemm_sample"
ROWS_FILE, MEDIANS_FILE = FOLDER / "rows.csv", FOLDER / "medians.csv"
DATASETS = tuple(
    f"aiconfigurator:{name}"
    for name in ("a100_sxm/sglang", "a100_sxm/vllm", "h100_sxm/sglang", "l40s/vllm")
)
#: Rows of each dataset, of one data type.
ROWS, SEED, DTYPE = 60, 0, "bf16"
#: A median may be so many times the recorded one.
WORSE = 1.15


class Median(NamedTuple):
    """Median absolute error of a dataset's rows."""

    dataset: str
    rows: int
    median_ape: float


def drawn(dataset: str) -> list[GemmRow]:
    """The rows as the installed package gives them.

    Raises:
        SpecError: without the extra `measurements`.
    """
    rows = [row for row in read_gemms(dataset)[0] if row.dtype == DTYPE]
    order = np.random.default_rng(SEED).choice(len(rows), ROWS, replace=False)
    return [rows[index] for index in order]


def carried(dataset: str) -> list[GemmRow]:
    """The rows as the project carries them."""
    with ROWS_FILE.open(encoding="utf-8", newline="") as file:
        return [
            GemmRow(
                gpu=row["gpu"],
                framework=row["framework"],
                dtype=row["dtype"],
                m=int(row["m"]),
                n=int(row["n"]),
                k=int(row["k"]),
                measured_us=float(row["measured_us"]),
            )
            for row in csv.DictReader(file)
            if row["dataset"] == dataset
        ]


def median_of(dataset: str) -> Median:
    """How far predictions lie from a dataset's rows now."""
    rows = carried(dataset)
    found = errors([predict_gemm_row(row) for row in rows], [row.measured_us for row in rows])
    return Median(dataset, found["rows"], found["median_ape"])


def recorded() -> list[Median]:
    """The medians when they were last written."""
    with MEDIANS_FILE.open(encoding="utf-8", newline="") as file:
        return [
            Median(row["dataset"], int(row["rows"]), float(row["median_ape"]))
            for row in csv.DictReader(file)
        ]


def is_worse(now: Median, then: Median) -> bool:
    """Whether the error grew beyond the limit, or is of other rows."""
    return now.rows != then.rows or now.median_ape > WORSE * then.median_ape


def record(datasets: Sequence[str] = DATASETS) -> list[Median]:
    """Write the medians of today, and return them."""
    medians = [median_of(name) for name in datasets]
    rows = [m._asdict() | {"median_ape": f"{m.median_ape:.5f}"} for m in medians]
    emit(rows, str, style="csv", output=MEDIANS_FILE)
    return medians


def draw() -> None:
    """Take the rows from the package."""
    rows = [{"dataset": name} | asdict(row) for name in DATASETS for row in drawn(name)]
    emit(rows, str, style="csv", output=ROWS_FILE)


@click.command()
@click.option("--write", is_flag=True, help="Record the medians that the test compares with.")
@click.option("--draw", "anew", is_flag=True, help="Take the rows from the package first.")
def main(*, write: bool, anew: bool) -> None:
    """Predict the products that the project carries, and print their median errors."""
    if anew:
        draw()
    for name, rows, median in record() if write else [median_of(name) for name in DATASETS]:
        click.echo(f"{name}, {rows} rows: {100 * median:.2f} %")


if __name__ == "__main__":
    run_command(main, "gemm_guard")
