"""`python -m validation.calibration`: write the rows that constants are fitted to."""

from pathlib import Path

import click

from gpusim.cli.output import emit
from gpusim.study.validate import read_sources
from validation.calibration.sample import DATASETS, is_wanted, recorded, spread
from validation.command import run_command

FOLDER = Path(__file__).parent
ROWS, SEED = 480, 0


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rows", type=click.IntRange(min=1), default=ROWS, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=SEED, show_default=True)
@click.option(
    "--folder",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    default=FOLDER,
    help="Where GPU.csv is written; by default here.",
)
def calibration(rows: int, seed: int, folder: Path) -> None:
    """Draw rows of the fit sets, and write a file for each GPU.

    It needs the extra `measurements`.
    """
    for gpu, sources in DATASETS.items():
        known, _ = read_sources(sources)
        drawn = spread([row for row in known if is_wanted(row)], rows, seed)
        lines = [recorded(row).as_row() for row in drawn]
        emit(lines, str, style="csv", output=folder / f"{gpu}.csv")
        click.echo(f"{gpu}: {len(lines)} rows", err=True)


if __name__ == "__main__":
    run_command(calibration, "calibration")
