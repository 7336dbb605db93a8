"""`python -m validation.microbench`: measure, show, and write a profile."""

import sys
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from gpusim.errors import SpecError, nearest, plain
from gpusim.spec.gpu import Gpu
from gpusim.spec.load import load_gpu
from validation.microbench.benchmark import Benchmark, Reading
from validation.microbench.catalogue import BENCHMARKS
from validation.microbench.device import check_same_board, found_device, profile_name
from validation.microbench.profile import profile_text, replaced
from validation.microbench.table import plan_table, readings_table


def chosen(only: str | None) -> list[Benchmark]:
    """The benchmarks of `--only`, in the catalogue's order.

    Raises:
        SpecError: for an unknown one.
    """
    names = BENCHMARKS if only is None else [name.strip() for name in only.split(",")]
    for name in names:
        if name not in BENCHMARKS:
            hint = nearest(name, BENCHMARKS) or f"; known: {', '.join(BENCHMARKS)}"
            raise SpecError(f"--only: expected microbenchmarks, found {plain(name)}{hint}")
    return [benchmark for name, benchmark in BENCHMARKS.items() if name in names]


def measured(gpu: Gpu, benchmarks: list[Benchmark], *, quick: bool) -> dict[str, list[Reading]]:
    """Run them one after another, with a bar on stderr."""
    found = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=len(benchmarks))
        for benchmark in benchmarks:
            progress.update(task, description=benchmark.name)
            found[benchmark.name] = benchmark.measure(gpu, quick)
            progress.advance(task)
    return found


def written(text: str, output: Path) -> None:
    """Write a profile, and read it again as gpusim does.

    Raises:
        SpecError: if it cannot be written, or gpusim does not take it.
    """
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SpecError(f"{output}: expected a file to write, found {error.strerror}") from error
    load_gpu(output)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", metavar="NAMES", help=f"Of {', '.join(BENCHMARKS)}; comma between them.")
@click.option("--gpu", "name", metavar="NAME", help="Profile; without it, by the board's name.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Profile to write; without it, NAME_measured.yaml here.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be measured; needs --gpu, no GPU.")
@click.option("--quick", is_flag=True, help="Fewer sizes and repeats.")
def microbench(
    only: str | None, name: str | None, output: Path | None, *, dry_run: bool, quick: bool
) -> None:
    """Measure what a GPU profile calls estimated or calibrated, on the CUDA GPU at hand."""
    benchmarks = chosen(only)
    if dry_run:
        if name is None:
            raise SpecError("--gpu: expected a name with --dry-run, found none")
        click.echo(plan_table(load_gpu(name), benchmarks, quick=quick), nl=False)
        return
    device = found_device()
    base = name or profile_name(device.name)
    gpu = load_gpu(base)
    check_same_board(device, gpu)
    output = output or Path(f"{gpu.name}_measured.yaml")
    if not output.parent.is_dir():
        raise SpecError(f"{output}: expected a file in a folder that exists")
    found = measured(gpu, benchmarks, quick=quick)
    click.echo(readings_table(gpu, found), nl=False)
    if replaced(gpu, found):
        written(profile_text(gpu, base, found, device), output)
        click.echo(f"wrote {output}", err=True)


def main() -> None:
    """Exit 0; 2 and one line for the user's mistake."""
    try:
        status = microbench.main(prog_name="python -m validation.microbench", standalone_mode=False)
    except (SpecError, click.ClickException) as error:
        message = error.format_message() if isinstance(error, click.ClickException) else str(error)
        click.echo(f"microbench: {' '.join(message.split())}", err=True)
        status = 2
    sys.exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    main()
