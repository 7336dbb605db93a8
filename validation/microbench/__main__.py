"""`python -m validation.microbench`: measure, show, and write a profile."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from rich.progress import TimeElapsedColumn

from gpusim.errors import SpecError, nearest, plain
from gpusim.spec.gpu import Gpu
from gpusim.spec.load import load_gpu
from validation.command import run_command
from validation.device import check_same_board, found_device, profile_name
from validation.failure import reason
from validation.microbench.benchmark import Benchmark, Reading
from validation.microbench.catalogue import BENCHMARKS
from validation.microbench.profile import profile_text, replaced
from validation.microbench.table import plan_table, readings_table
from validation.progress import telling

#: Readings by the name of their benchmark.
Found = dict[str, list[Reading]]


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


def measured(
    gpu: Gpu, benchmarks: list[Benchmark], keep: Callable[[Found], None], *, quick: bool
) -> tuple[Found, dict[str, str]]:
    """Run them one after another; what those read that ended well, and why the others failed.

    What was read so far is kept after each; readings that cannot be kept are a failure too.
    """
    found: Found = {}
    failures = {}
    with telling(len(benchmarks), TimeElapsedColumn()) as tell:
        for benchmark in benchmarks:
            tell.begin(benchmark.name)
            try:
                readings = benchmark.measure(gpu, quick)
                keep({**found, benchmark.name: readings})
            except Exception as error:
                failures[benchmark.name] = reason(error)
                tell.say(f"failed: {benchmark.name}: {failures[benchmark.name]}")
            else:
                found[benchmark.name] = readings
    return found, failures


def written(text: str, output: Path) -> None:
    """Write a profile, if gpusim takes it.

    Raises:
        SpecError: if it cannot be written, or gpusim does not take it.
    """
    with TemporaryDirectory() as folder:
        copy = Path(folder) / output.name
        copy.write_text(text, encoding="utf-8")
        load_gpu(copy)
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SpecError(f"{output}: expected a file to write, found {error.strerror}") from error


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
) -> int:
    """Measure what a GPU profile calls estimated or calibrated, on the CUDA GPU at hand.

    The profile is written anew after each microbenchmark. Where one fails the others are measured
    all the same, and the exit status is 1.
    """
    benchmarks = chosen(only)
    if dry_run:
        if name is None:
            raise SpecError("--gpu: expected a name with --dry-run, found none")
        click.echo(plan_table(load_gpu(name), benchmarks, quick=quick), nl=False)
        return 0
    device = found_device()
    base = name or profile_name(device.name)
    gpu = load_gpu(base)
    check_same_board(device, gpu)
    path = output or Path(f"{gpu.name}_measured.yaml")
    if not path.parent.is_dir():
        raise SpecError(f"{path}: expected a file in a folder that exists")

    def keep(found: Found) -> None:
        if replaced(gpu, found):
            written(profile_text(gpu, base, found, device), path)

    found, failures = measured(gpu, benchmarks, keep, quick=quick)
    click.echo(readings_table(gpu, found), nl=False)
    for benchmark, why in failures.items():
        click.echo(f"failed: {benchmark}: {why}")
    if replaced(gpu, found):
        click.echo(f"wrote {path}", err=True)
    return 1 if failures else 0


def main() -> None:
    """Exit 0; 1 if a microbenchmark failed; 2 and one line for the user's mistake."""
    run_command(microbench, "microbench")


if __name__ == "__main__":
    main()
