"""How far predictions lie from measured rows: `python -m validation.accuracy`.

Predicts a sample of every dataset and prints the tables of this folder's README. A sample is what
`gpusim validate DATASET --sample N` draws. Beside it stands a small sample that a test predicts
again, so that the tables cannot fall behind the model unseen. `--write` also records the medians of
the sample that the project carries (`validation/guard.py`).
"""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import track

from gpusim.cli.output import write_file
from gpusim.errors import SpecError
from gpusim.study import aiconfigurator
from gpusim.study.datasets import PUBLISHED, measured
from gpusim.study.predict_row import Prediction
from gpusim.study.validate import Validation, read_sources, validate
from validation import guard
from validation.ablation import ablation_table
from validation.command import run_command
from validation.kernel_pairs import pairs_table
from validation.tables import markdown, percent
from validation.targets import Rows, targets_table

README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- accuracy -->\n", "<!-- end of accuracy -->\n"
PACKAGE = "aiconfigurator-core"

#: Rows of each dataset behind the tables, and rows that the test predicts again with 'sim'.
SAMPLE, CHECKED = 1000, 60
SEED = 0

#: Datasets that constants of the model may be fitted on. Of the published rows one constant was:
#: overlap.co_resident_gain of H100, on three rates of FlashAttention-2.
FIT_SETS = {
    "aiconfigurator:a100_sxm/sglang": "fit",
    "aiconfigurator:a100_sxm/vllm": "fit",
    "aiconfigurator:h100_sxm/sglang": "fit",
    "aiconfigurator:l40s/vllm": "fit",
    PUBLISHED: "fit in part",
}
HOLD_OUT = "hold-out"

#: Columns of words, then columns of numbers.
DATASET_COLUMNS = (
    "dataset|set",
    "rows|left out|sample|predicted|median|mean|p90|bias|rank corr."
    "|above 50 us: median|p90|roofline: median",
)
GROUP_COLUMNS = (
    "dataset|kernel|phase",
    "rows|median|p90|bias|above 50 us: median|roofline: median",
)
CHECKED_COLUMNS = ("CI sample", "rows|median|mean|p90|bias")

_INTRODUCTION = """\
```sh
python -m validation.accuracy --sample {sample} --engine {engine} --write
```

made these tables, with {package} {version}. Of each dataset {sample} rows are predicted
(all, if it has fewer), drawn at random with seed {seed}. An error is |predicted / measured - 1|,
the bias the median of predicted / measured, less 1; both are in per cent, the roofline's too.

Constants of the model are fitted on the sets marked `fit`. To a hold-out nothing is fitted but one
constant of a framework version, the same for all its calls (`lead_us`). Three rates of the
published rows gave one constant of the H100 (`overlap.co_resident_gain`).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A dataset: all its rows, the outcome of a sample, and that of the sample of the test."""

    name: str
    rows: int
    found: Validation
    checked: Validation

    @property
    def sampled(self) -> int:
        """Rows that were tried."""
        return len(self.found.predictions) + self.found.refused.total()


def names() -> list[str]:
    """All datasets that are there, by name.

    Raises:
        SpecError: without the extra `measurements`.
    """
    return sorted([*aiconfigurator.datasets(), PUBLISHED, *measured()])


def checked(name: str) -> Validation:
    """The sample of a dataset that the test predicts again."""
    return validate([name], engine="sim", sample=CHECKED, seed=SEED, workers=1)


def scored(name: str, *, sample: int, engine: str, workers: int) -> Scored:
    """Predict the samples of a dataset; of one without modelled rows, nothing."""
    rows, not_read = read_sources([name])
    total = len(rows) + not_read.total()
    if not rows:
        nothing = Validation(predictions=[], not_read=not_read, refused=Counter())
        return Scored(name=name, rows=total, found=nothing, checked=nothing)
    found = validate([name], engine=engine, sample=sample, seed=SEED, workers=workers)
    return Scored(name=name, rows=total, found=found, checked=checked(name))


def more(datasets: Sequence[Scored], *, engine: str, workers: int) -> list[str]:
    """Tables with predictions of their own: pairs of kernels, and effects switched off."""
    fit = [d for d in datasets if d.name in FIT_SETS and d.name != PUBLISHED]
    rows = [p.row for d in fit for p in d.found.predictions]
    return [
        pairs_table([d.name for d in datasets], engine=engine, seed=SEED, workers=workers),
        ablation_table(rows, workers=workers),
    ]


def report(
    datasets: Sequence[Scored], *, engine: str, sample: int, tables: Sequence[str] = ()
) -> str:
    """Everything between the markers of the README; `tables` stand between the others."""
    modelled = [d for d in datasets if d.found.predictions]
    aimed = [
        Rows(d.name, d.name in FIT_SETS, d.found.predictions)
        for d in modelled
        if d.name.startswith(aiconfigurator.PREFIX)
    ]
    parts = (
        _INTRODUCTION.format(
            sample=sample, engine=engine, package=PACKAGE, version=version(PACKAGE), seed=SEED
        ),
        markdown(DATASET_COLUMNS, (_dataset(d) for d in modelled)),
        targets_table(aimed),
        "By kernel and phase, rows of the same samples:\n",
        markdown(GROUP_COLUMNS, _groups(modelled)),
        *tables,
        "Rows left out:\n",
        "".join(f"- {line}\n" for d in datasets for line in _left_out(d)) or "- none\n",
        f"A test predicts {CHECKED} rows of each dataset again, with `sim` and seed {SEED}:\n",
        markdown(CHECKED_COLUMNS, (_checked(d) for d in modelled)),
    )
    return "\n".join(parts)


def _dataset(dataset: Scored) -> list[str]:
    statistics = dataset.found.as_dict()
    long, rank = statistics["above_50us"], statistics["spearman"]
    return [
        f"`{dataset.name}`",
        FIT_SETS.get(dataset.name, HOLD_OUT),
        f"{dataset.rows:,}",
        f"{dataset.found.not_read.total():,}",
        f"{dataset.sampled:,}",
        f"{statistics['rows']:,}",
        *(percent(statistics[name]) for name in ("median_ape", "mean_ape", "p90_ape")),
        percent(statistics["bias"], "+"),
        "" if rank is None else f"{rank:.3f}",
        percent(long["median_ape"]),
        percent(long["p90_ape"]),
        percent(statistics["roofline"]["median_ape"]),
    ]


def _groups(datasets: Iterable[Scored]) -> Iterator[list[str]]:
    for dataset in datasets:
        groups: dict[tuple[str, str], list[Prediction]] = {}
        for p in dataset.found.predictions:
            groups.setdefault((p.row.kernel, p.row.phase), []).append(p)
        for (kernel, phase), predictions in sorted(groups.items()):
            statistics = replace(dataset.found, predictions=predictions).as_dict()
            yield [f"`{dataset.name}`", f"`{kernel}`", phase, *_group(statistics)]


def _group(statistics: Mapping[str, Any]) -> list[str]:
    return [
        f"{statistics['rows']:,}",
        percent(statistics["median_ape"]),
        percent(statistics["p90_ape"]),
        percent(statistics["bias"], "+"),
        percent(statistics["above_50us"]["median_ape"]),
        percent(statistics["roofline"]["median_ape"]),
    ]


def _left_out(dataset: Scored) -> Iterator[str]:
    counts = ((dataset.found.not_read, dataset.rows), (dataset.found.refused, dataset.sampled))
    for reasons, of in counts:
        for reason, count in sorted(reasons.items()):
            yield f"`{dataset.name}`: {count:,} of {of:,}: {reason}"


def _checked(dataset: Scored) -> list[str]:
    found = dataset.checked.as_dict()
    shares = [f"{100 * found[name]:.1f}" for name in ("median_ape", "mean_ape", "p90_ape")]
    return [f"`{dataset.name}`", str(found["rows"]), *shares, f"{100 * found['bias']:+.1f}"]


def with_tables(text: str, tables: str, begin: str = BEGIN, end: str = END) -> str:
    """The README with other tables between two of its markers.

    Raises:
        SpecError: if it does not have both markers.
    """
    before, _, rest = text.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SpecError(f"{README}: expected the markers {begin.strip()} and {end.strip()}")
    return f"{before}{begin}{tables}{end}{after}"


@click.command()
@click.option("--sample", type=click.IntRange(min=1), default=SAMPLE, show_default=True)
@click.option("--engine", type=click.Choice(["sim", "analytic"]), default="sim", show_default=True)
@click.option("--workers", type=click.IntRange(1, 256), default=2, show_default=True)
@click.option(
    "--write", is_flag=True, help="Into validation/README.md; record the guard's medians."
)
def main(sample: int, engine: str, workers: int, *, write: bool) -> None:
    """Predict a sample of every dataset, and tabulate how far predictions lie from it."""
    console = Console(stderr=True)
    bar = partial(track, description="predicting", console=console, transient=True)
    try:
        datasets = [
            scored(name, sample=sample, engine=engine, workers=workers)
            for name in bar(names(), disable=not console.is_terminal)
        ]
        extra = more(datasets, engine=engine, workers=workers)
        tables = report(datasets, engine=engine, sample=sample, tables=extra)
        if write:
            text = with_tables(README.read_text(encoding="utf-8"), tables)
            write_file(text.encode(), README)
            guard.record()
        else:
            click.echo(tables, nl=False)
    except SpecError as error:
        click.echo(f"accuracy: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    run_command(main, "accuracy")
