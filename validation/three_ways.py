"""What calibration is worth: `python -m validation.three_ways`.

Predicts a sample of every dataset with each profile as it is, with the same profile uncalibrated,
and by the roofline, and prints a table of this folder's README.
"""

from collections.abc import Iterator, Mapping, Sequence

import click

from gpusim.cli.output import write_file
from gpusim.spec.load import shipped
from gpusim.study.accuracy import errors
from gpusim.study.predict_row import Prediction
from gpusim.study.validate import read_sources, validate
from validation.accuracy import FIT_SETS, HOLD_OUT, README, names, with_tables
from validation.command import run_command
from validation.tables import markdown, percent

BEGIN, END = "<!-- three ways -->\n", "<!-- end of three ways -->\n"
SAMPLE, SEED = 1000, 0
COLUMNS = (
    "profile|dataset|set",
    "rows|roofline: median|p90|uncalibrated: median|p90|calibrated: median|p90",
)

_INTRODUCTION = """\
```sh
python -m validation.three_ways --sample {sample} --engine {engine} --write
```

made this table: errors in per cent of the roofline (useful FLOP at peak or compulsory bytes at
peak), of the model with nothing calibrated in its profiles (data sheets, microbenchmarks, and no
overlap that was not measured: `gpusim validate --uncalibrated`), and of the profiles as they are.
What belongs to an implementation, such as its `lead_us`, is the same in both.
"""

Errors = Mapping[str, float | None]


def found(name: str, *, sample: int, engine: str, workers: int) -> Iterator[list[str]]:
    """A line of the table for each profile that a dataset has rows of."""
    both = [
        validate(
            [name],
            engine=engine,
            uncalibrated=bare,
            sample=sample,
            seed=SEED,
            workers=workers,
        ).predictions
        for bare in (True, False)
    ]
    for gpu in dict.fromkeys(p.row.gpu for p in both[1]):
        bare, calibrated = ([p for p in predictions if p.row.gpu == gpu] for predictions in both)
        three = (_errors(calibrated, "roofline_us"), _errors(bare), _errors(calibrated))
        cells = [percent(way[key]) for way in three for key in ("median_ape", "p90_ape")]
        label = FIT_SETS.get(name, HOLD_OUT)
        yield [f"`{gpu}`", f"`{name}`", label, f"{len(calibrated):,}", *cells]


def report(lines: Sequence[list[str]], *, engine: str, sample: int) -> str:
    """Everything between the markers of the README."""
    seen = {line[0].strip("`") for line in lines}
    unseen = [f"`{name}`" for name in shipped("hardware") if name not in seen]
    rest = f"No dataset has rows of {', '.join(unseen)}.\n" if unseen else ""
    table = markdown(COLUMNS, sorted(lines))
    return "\n".join([_INTRODUCTION.format(sample=sample, engine=engine), table, rest])


def _errors(predictions: Sequence[Prediction], way: str = "predicted_us") -> Errors:
    measured = [p.row.measured_us for p in predictions]
    return errors([getattr(p, way) for p in predictions], measured)


@click.command()
@click.option("--sample", type=click.IntRange(min=1), default=SAMPLE, show_default=True)
@click.option(
    "--engine", type=click.Choice(["sim", "analytic"]), default="analytic", show_default=True
)
@click.option("--workers", type=click.IntRange(1, 256), default=2, show_default=True)
@click.option("--write", is_flag=True, help="Into validation/README.md, not standard output.")
def main(sample: int, engine: str, workers: int, *, write: bool) -> None:
    """Predict a sample of every dataset with and without what was calibrated."""
    modelled = [name for name in names() if read_sources([name])[0]]
    lines = [
        line
        for name in modelled
        for line in found(name, sample=sample, engine=engine, workers=workers)
    ]
    tables = report(lines, sample=sample, engine=engine)
    if not write:
        click.echo(tables, nl=False)
        return
    text = with_tables(README.read_text(encoding="utf-8"), tables, BEGIN, END)
    write_file(text.encode(), README)


if __name__ == "__main__":
    run_command(main, "three_ways")
