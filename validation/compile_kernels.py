"""What the compiler makes of the project's kernels: `python -m validation.compile_kernels`.

Compiles every configuration for every architecture, without a GPU, and writes one CSV row a kernel:
registers, local and shared memory, threads, and what one pass of its main loop executes. The main
loop is the innermost one with matrix instructions; of several, the one with the fewest instructions
for each of those, which is the one that does not mask. A kernel that has none is counted whole.
"""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import track

from gpusim.cli.options import output_option
from gpusim.cli.output import emit
from gpusim.errors import SpecError, plain
from validation.command import run_command
from validation.sass import Instruction, Mix, innermost, whole

if TYPE_CHECKING:
    from validation.configurations import Configuration
    from validation.offline import Compiled

WARP = 32


def compile_rows(configuration: "Configuration") -> Iterator[dict[str, Any]]:
    """Compile a configuration: a row for each kernel that its wrapper launches."""
    from validation.offline import compiled

    with compiled(configuration.arch) as launches:
        try:
            configuration.launch()
        except Exception as error:
            error.add_note(f"while compiling {configuration}")
            raise
    for launch in launches:
        yield _row(configuration, launch)


def _row(configuration: "Configuration", launch: "Compiled") -> dict[str, Any]:
    import triton

    from validation.cubin import read_cubin

    attention, metadata = configuration.attention, launch.binary.metadata
    cubin = read_cubin(launch.binary.asm["cubin"])
    loops = _main_loops(cubin.code, configuration.consumers)
    slowest = max(loops, key=lambda loop: loop.instructions)
    # Where the main loop copies nothing, a warp of its own may do it.
    loaders = [loop.async_copies for loop in innermost(cubin.code, "async_copies")]
    num_warps = launch.options.get("num_warps", metadata.num_warps)
    return {
        "triton": triton.__version__,
        "arch": configuration.arch,
        "schedule": configuration.schedule,
        "kernel": launch.name,
        "head_dim": attention.head_dim,
        "dtype": attention.dtype,
        "causal": str(attention.causal).lower(),
        "block_m": launch.constants.get("BLOCK_M", ""),
        "block_n": launch.constants.get("BLOCK_N", ""),
        "num_warps": num_warps,
        "stages": launch.constants.get("STAGES", metadata.num_stages),
        "registers": cubin.registers,
        "spill_bytes": cubin.spill_bytes,
        "smem_bytes": metadata.shared,
        "threads": WARP * metadata.num_warps,
        "tensor_flop": sum(loop.tensor_flop for loop in loops) * num_warps,
        "exp2": sum(loop.exp2 for loop in loops) * num_warps * WARP,
        "fp32": slowest.fp32,
        "convert": slowest.convert,
        "async_copies": slowest.async_copies or max(loaders, default=0),
        "smem_reads": slowest.smem_reads,
        "smem_writes": slowest.smem_writes,
        "barriers": slowest.barriers,
        "instructions": slowest.instructions,
    }


def _main_loops(code: Sequence[Instruction], consumers: int) -> list[Mix]:
    """The loops that the consumers run side by side, or the whole kernel."""
    loops = innermost(code, "tensor")
    return sorted(loops, key=lambda x: x.instructions / x.tensor)[:consumers] or [whole(code)]


def table(chosen: Sequence["Configuration"], *, console: Console) -> list[dict[str, Any]]:
    """All rows in order of their columns; kernels that several configurations share stand once."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    quiet = not console.is_terminal
    for configuration in track(chosen, "compiling", console=console, transient=True, disable=quiet):
        for row in compile_rows(configuration):
            found[tuple((isinstance(value, str), value) for value in row.values())] = row
    return [found[key] for key in sorted(found)]


def chosen(archs: Sequence[str], schedules: Sequence[str]) -> "list[Configuration]":
    """The configurations of some architectures and schedules, of all where none are given.

    Raises:
        SpecError: for an unknown one, or if nothing is to be compiled for them.
    """
    from validation.configurations import FAMILIES, configurations
    from validation.offline import TARGETS

    _check("--arch", archs, TARGETS)
    _check("--kernel", schedules, [family.schedule for family in FAMILIES])
    of_schedules = [c for c in configurations() if not schedules or c.schedule in schedules]
    found = [c for c in of_schedules if not archs or c.arch in archs]
    if not found:
        known = ", ".join(sorted({c.arch for c in of_schedules}))
        raise SpecError(
            f"--arch: expected an architecture that {', '.join(schedules)} is compiled for"
            f" ({known}), found {', '.join(archs)}"
        )
    return found


def _check(option: str, names: Iterable[str], known: Iterable[str]) -> None:
    for name in names:
        if name not in known:
            raise SpecError(f"{option}: expected one of {', '.join(known)}, found {plain(name)}")


def check_compiler() -> None:
    """Refuse to begin where nothing can be compiled.

    Raises:
        SpecError: if Torch or Triton is missing, or Triton is told to interpret.
    """
    if missing := [name for name in ("torch", "triton") if find_spec(name) is None]:
        raise SpecError(
            f"expected Torch and Triton, found no {missing[0]}; pip install 'gpusim[triton]'"
        )
    if os.environ.get("TRITON_INTERPRET", "0") not in ("", "0"):
        raise SpecError("TRITON_INTERPRET: expected it unset: what is interpreted is not compiled")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--arch", "archs", multiple=True, metavar="NAME", help="Only for this one, such as sm_90."
)
@click.option(
    "--kernel",
    "schedules",
    multiple=True,
    metavar="NAME",
    help="Only the kernels of this schedule, such as flash2.",
)
@output_option
def compile_kernels(
    archs: tuple[str, ...], schedules: tuple[str, ...], output: Path | None
) -> None:
    """Compile the project's kernels without a GPU, and write what came out as CSV.

    Both --arch and --kernel may be repeated.
    """
    check_compiler()
    import triton

    started = time.monotonic()
    configurations = chosen(archs, schedules)
    rows = table(configurations, console=Console(stderr=True))
    emit(rows, str, style="csv", output=output)
    made = f"{len(rows)} kernels of {len(configurations)} configurations"
    seconds = time.monotonic() - started
    click.echo(f"Triton {triton.__version__}: {made}, {seconds:.0f} s", err=True)


def main() -> None:
    """Exit 0; 2 and one line for the user's mistake."""
    run_command(compile_kernels, "compile_kernels")


if __name__ == "__main__":
    main()
