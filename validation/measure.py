"""`python -m validation.measure`: the project's kernels, checked and timed on a CUDA GPU."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gpusim.errors import SpecError, plain
from gpusim.spec.gpu import Gpu
from gpusim.spec.load import load_gpu, shipped
from validation.measuring.cases import L2, Case, Cases, find_cases
from validation.measuring.report import Rate, plan_text, summary_text
from validation.measuring.rows import mend, read_rows
from validation.measuring.shapes import KERNELS
from validation.microbench.device import Device, check_same_board, found_device, profile_name

if TYPE_CHECKING:
    from validation.measuring.bench import Bench
    from validation.measuring.loop import Outcome

#: Where `gpusim validate triton:GPU` looks for rows.
FOLDER = Path(__file__).resolve().parent / "measured"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--gpu", "name", metavar="NAME", help="Profile; without it, by the board's name.")
@click.option(
    "--kernel", "kernels", multiple=True, type=click.Choice(KERNELS), help="Only this; repeatable."
)
@click.option(
    "--l2",
    type=click.Choice(["warm", "cold"]),
    default="warm",
    show_default=True,
    help="Replays on the same buffers, or with L2 flushed before each.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.csv",
    help="Rows are added here; without it, to validation/measured/triton_GPU.csv.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be measured; needs --gpu, no GPU.")
@click.option(
    "--limit-minutes",
    type=click.FloatRange(min=0, min_open=True),
    metavar="M",
    help="Begin no shape after so many minutes.",
)
@click.option("--quick", is_flag=True, help="A few shapes of each kernel, about two minutes.")
def measure(
    name: str | None,
    kernels: tuple[str, ...],
    l2: L2,
    output: Path | None,
    limit_minutes: float | None,
    *,
    dry_run: bool,
    quick: bool,
) -> int:
    """Measure the project's Triton kernels on the CUDA GPU at hand.

    Each kernel is checked against PyTorch, then timed on a grid of shapes. Rows are those that
    `gpusim validate` reads. Each is on the disk once it is measured: the same command goes on where
    another ended, and a shape that has a row is not measured again. A kernel that computes
    something else than attention is not timed, and the exit status is 1.
    """
    device = None if dry_run else found_device()
    gpu = _profile(name, device)
    output = output or FOLDER / f"triton_{gpu.name}.csv"
    if not output.parent.is_dir():
        raise SpecError(f"--output: expected a file in a folder that exists, found {output}")
    chosen = [kernel for kernel in KERNELS if kernel in (kernels or KERNELS)]
    cases = find_cases(gpu, chosen, l2)
    cases = (cases.shortened() if quick else cases).without(read_rows(output), gpu, l2)
    if device is None:
        click.echo(plan_text(cases, chosen, l2), nl=False)
        return 0
    mend(output)
    limit_s = None if limit_minutes is None else 60 * limit_minutes
    outcome = _measured(_bench(device), gpu, l2, output, cases, limit_s)
    said = (outcome.measured, outcome.left_out, outcome.failures, outcome.stopped)
    click.echo(summary_text(*said), nl=False)
    click.echo(f"rows are in {output}", err=True)
    return outcome.status


def _profile(name: str | None, device: Device | None) -> Gpu:
    """The profile whose name the rows bear.

    Raises:
        SpecError: if there is none, or it is not that of the GPU at hand.
    """
    if name is None and device is None:
        raise SpecError("--gpu: expected a name with --dry-run, found none")
    gpu = load_gpu(name or profile_name(device.name if device else ""))
    if gpu.name not in shipped("hardware"):
        raise SpecError(
            f"--gpu: expected a GPU that ships with gpusim, since rows name it, found"
            f" {plain(gpu.name)}"
        )
    if device is not None:
        check_same_board(device, gpu)
    return gpu


def _bench(device: Device) -> "Bench":
    from validation.measuring.bench import cuda_bench

    return cuda_bench(device)


def _measured(
    bench: "Bench", gpu: Gpu, l2: L2, output: Path, cases: Cases, limit_s: float | None
) -> "Outcome":
    """Measure the cases, with a bar on stderr where that is a terminal."""
    from validation.measuring.loop import Run

    run = Run(bench=bench, gpu=gpu, l2=l2, path=output)
    with _bar(cases.cases) as step:
        return run.measure_all(cases, limit_s=limit_s, step=step)


@contextmanager
def _bar(cases: Sequence[Case]) -> Iterator[Callable[[Case], None]]:
    """A progress bar; told each case before it is measured."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
    )
    quiet = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=quiet) as progress:
        task = progress.add_task("", total=len(cases), completed=-1)

        def step(case: Case) -> None:
            progress.update(task, advance=1, description=case.kernel)

        yield step


def main() -> None:
    """Exit 0; 2 and one line for the user's mistake; 1 if a kernel failed; 130 if interrupted."""
    status = 130
    try:
        status = measure.main(prog_name="python -m validation.measure", standalone_mode=False)
    except (SpecError, click.ClickException) as error:
        message = error.format_message() if isinstance(error, click.ClickException) else str(error)
        click.echo(f"measure: {' '.join(message.split())}", err=True)
        status = 2
    except click.Abort:
        click.echo("measure: interrupted", err=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
