"""How far predicted matrix products lie from measured ones: `python -m validation.gemm`.

Predicts a sample of every dataset of matrix products in the package `aiconfigurator-core` and
prints the tables of this folder's README. `--write` also records the medians of the sample that the
project carries (`validation/gemm_guard.py`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import click
import numpy as np

from gpusim.cli.output import write_file
from gpusim.study.accuracy import errors
from gpusim.study.gemm_rows import (
    GemmRow,
    gemm_datasets,
    gemm_roofline_us,
    predict_gemm_row,
    read_gemms,
)
from validation import gemm_guard
from validation.accuracy import HOLD_OUT, PACKAGE, README, SEED, with_tables
from validation.command import run_command
from validation.tables import markdown, percent

BEGIN, END = "<!-- gemm -->\n", "<!-- end of gemm -->\n"
SAMPLE = 1000
#: Rows above this are read apart: below it launches weigh most.
FLOOR_US = 20.0
#: Datasets that the `gemm` numbers of a profile are fitted on, in bf16. A100 vLLM may be fitted on,
#: but its weights are constant, which draws less power: nothing is.
FIT_SETS = {
    "aiconfigurator:a100_sxm/sglang": "fit",
    "aiconfigurator:a100_sxm/vllm": "fit set, not used",
    "aiconfigurator:h100_sxm/sglang": "fit",
    "aiconfigurator:l40s/vllm": "fit",
}
UNCALIBRATED = "not calibrated"
#: Sizes by tokens: the greatest m of each.
TOKENS = (16, 128, 512, 4353, 32768)
COLUMNS = (
    "dataset|type|set",
    "rows|sample|median|p90|bias|rank corr.|above 20 us: rows|median|p90|bias|rank corr."
    "|roofline: median",
)
TOKEN_COLUMNS = ("tokens (m)", "rows|median|p90|bias|above 20 us: rows|median|roofline: median")

_INTRODUCTION = """\
```sh
python -m validation.gemm --sample {sample} --write
```

made these tables with the closed form and {package} {version}: errors in per cent. Of each dataset
and type {sample} rows are drawn at random with seed {seed}. The roofline's median is of the rows
above 20 us.
"""


@dataclass(frozen=True, slots=True)
class Predicted:
    """A row with what the model and a roofline say."""

    row: GemmRow
    predicted_us: float
    roofline_us: float


@dataclass(frozen=True, slots=True)
class Scored:
    """A dataset in one data type: how many rows there are, and its predicted sample."""

    name: str
    dtype: str
    rows: int
    sample: list[Predicted]


def scored(name: str, sample: int) -> Iterator[Scored]:
    """Predict a sample of each data type of a dataset.

    Raises:
        SpecError: without the extra `measurements`.
    """
    rows, _ = read_gemms(name)
    for dtype in sorted({row.dtype for row in rows}):
        of_type = [row for row in rows if row.dtype == dtype]
        count = min(sample, len(of_type))
        chosen = np.random.default_rng(SEED).choice(len(of_type), count, replace=False)
        predicted = [
            Predicted(row, predict_gemm_row(row), gemm_roofline_us(row))
            for row in (of_type[index] for index in chosen)
        ]
        yield Scored(name, dtype, len(of_type), predicted)


def report(found: Sequence[Scored], sample: int) -> str:
    """Everything between the markers of the README."""
    parts = (
        _INTRODUCTION.format(sample=sample, package=PACKAGE, version=version(PACKAGE), seed=SEED),
        markdown(COLUMNS, (_line(dataset) for dataset in found)),
        "By tokens, bf16 rows of all datasets:\n",
        markdown(TOKEN_COLUMNS, _by_tokens(found)),
    )
    return "\n".join(parts)


def statistics(sample: Sequence[Predicted]) -> tuple[dict[str, Any], dict[str, Any], float | None]:
    """Errors of all rows, of those above 20 us, and the roofline's median of the latter."""
    large = [p for p in sample if p.row.measured_us > FLOOR_US]
    measured = [p.row.measured_us for p in large]
    return (
        errors([p.predicted_us for p in sample], [p.row.measured_us for p in sample]),
        errors([p.predicted_us for p in large], measured),
        errors([p.roofline_us for p in large], measured)["median_ape"],
    )


def _line(dataset: Scored) -> list[str]:
    every, large, roofline = statistics(dataset.sample)
    label = FIT_SETS.get(dataset.name, HOLD_OUT) if dataset.dtype == "bf16" else UNCALIBRATED
    return [
        f"`{dataset.name}`",
        dataset.dtype,
        label,
        f"{dataset.rows:,}",
        *_errors(every),
        *_errors(large),
        percent(roofline),
    ]


def _errors(found: dict[str, Any]) -> list[str]:
    rank = found["spearman"]
    return [
        f"{found['rows']:,}",
        percent(found["median_ape"]),
        percent(found["p90_ape"]),
        percent(found["bias"], "+"),
        "" if rank is None else f"{rank:.3f}",
    ]


def _by_tokens(found: Sequence[Scored]) -> Iterator[list[str]]:
    rows = [p for dataset in found if dataset.dtype == "bf16" for p in dataset.sample]
    for low, high in zip((0, *TOKENS[:-1]), TOKENS, strict=True):
        every, large, roofline = statistics([p for p in rows if low < p.row.m <= high])
        yield [
            f"{low + 1:,} to {high:,}",
            *_errors(every)[:4],
            f"{large['rows']:,}",
            percent(large["median_ape"]),
            percent(roofline),
        ]


@click.command()
@click.option("--sample", type=click.IntRange(min=1), default=SAMPLE, show_default=True)
@click.option(
    "--write", is_flag=True, help="Into validation/README.md; record the guard's medians."
)
def main(sample: int, *, write: bool) -> None:
    """Predict measured matrix products."""
    tables = report([s for name in gemm_datasets() for s in scored(name, sample)], sample)
    if not write:
        click.echo(tables, nl=False)
        return
    text = with_tables(README.read_text(encoding="utf-8"), tables, BEGIN, END)
    write_file(text.encode(), README)
    gemm_guard.record()


if __name__ == "__main__":
    run_command(main, "gemm")
