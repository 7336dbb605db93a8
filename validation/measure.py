"""`python -m validation.measure`: the project's kernels, checked and timed on a CUDA GPU."""

from functools import partial
from pathlib import Path

import click
from rich.progress import TimeRemainingColumn

from gpusim.errors import SpecError, plain
from gpusim.spec.gpu import Gpu
from gpusim.spec.load import load_gpu, shipped
from validation.command import run_command
from validation.device import Device, check_same_board, found_device, profile_name
from validation.measuring.cases import L2, Case, Cases, find_cases
from validation.measuring.loop import Outcome, Run
from validation.measuring.reply import Measured
from validation.measuring.report import Rate, plan_text, summary_text
from validation.measuring.rows import add_row, mend, read_rows
from validation.measuring.shapes import KERNELS
from validation.measuring.worker import Process, Worker
from validation.progress import telling

#: Where `gpusim validate triton:GPU` looks for rows.
FOLDER = Path(__file__).resolve().parent / "measured"
#: Lines that tell how far a run is, where stderr is no terminal, are so far apart.
LINES_S = 10.0


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
    another ended, and a shape that has a row is not measured again. Each kernel has a process of
    its own: one that computes something else than attention, fails or hangs is not timed any
    further, the others are, and the exit status is 1.
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
    outcome = _measured(device, gpu, l2, output, cases, limit_s)
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


def _worker(device: Device, gpu: Gpu, l2: L2) -> Worker:
    from validation.measuring.measurer import cuda_measure

    return Process(partial(cuda_measure, device, gpu, l2))


def _measured(
    device: Device, gpu: Gpu, l2: L2, output: Path, cases: Cases, limit_s: float | None
) -> Outcome:
    """Measure the cases; the file has each row before the next case begins."""

    def keep(case: Case, found: Measured) -> None:
        row = case.row(gpu, l2, measured_us=found.measured_us, source=found.source)
        add_row(output, row)

    with telling(len(cases.cases), Rate(), TimeRemainingColumn(), every_s=LINES_S) as tell:
        start = partial(_worker, device, gpu, l2)
        return Run(start=start, keep=keep, tell=tell, limit_s=limit_s).measure_all(cases)


def main() -> None:
    """Exit 0; 2 and one line for the user's mistake; 1 if a kernel failed; 130 if interrupted."""
    run_command(measure, "measure")


if __name__ == "__main__":
    main()
