"""What the compiler makes of the project's kernels: `python -m validation.compile_kernels`.

Compiles every configuration for every architecture, without a GPU, and writes one CSV row a kernel:
registers, local and shared memory, threads, and what one pass of its main loop executes. The main
loop is the innermost one with matrix instructions; of several, the one with the fewest instructions
for each of those, which is the one that does not mask. A kernel that has none is counted whole.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import triton
from rich.console import Console
from rich.progress import track

from gpusim.cli.output import emit
from gpusim.errors import SpecError
from validation.configurations import FAMILIES, Configuration, configurations
from validation.cubin import read_cubin
from validation.offline import TARGETS, Compiled, compiled
from validation.sass import Instruction, Mix, innermost, whole

WARP = 32


def compile_rows(configuration: Configuration) -> Iterator[dict[str, Any]]:
    """Compile a configuration: a row for each kernel that its wrapper launches."""
    with compiled(configuration.arch) as launches:
        try:
            configuration.launch()
        except Exception as error:
            error.add_note(f"while compiling {configuration}")
            raise
    for launch in launches:
        yield _row(configuration, launch)


def _row(configuration: Configuration, launch: Compiled) -> dict[str, Any]:
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


@click.command()
@click.option("--output", type=click.Path(path_type=Path), help="Write there, whole or not at all.")
@click.option("--arch", "archs", multiple=True, type=click.Choice(list(TARGETS)))
@click.option(
    "--kernel",
    "schedules",
    multiple=True,
    type=click.Choice([family.schedule for family in FAMILIES]),
    help="Only the kernels of this schedule.",
)
def main(output: Path | None, archs: tuple[str, ...], schedules: tuple[str, ...]) -> None:
    """Compile the project's kernels without a GPU, and write what came out as CSV."""
    started = time.monotonic()
    chosen = [
        c
        for c in configurations()
        if c.arch in (archs or TARGETS) and (not schedules or c.schedule in schedules)
    ]
    rows = table(chosen, console=Console(stderr=True))
    try:
        emit(rows, str, style="csv", output=output)
    except SpecError as error:
        click.echo(f"compile_kernels: {error}", err=True)
        sys.exit(2)
    made = f"{len(rows)} kernels of {len(chosen)} configurations"
    seconds = time.monotonic() - started
    click.echo(f"Triton {triton.__version__}: {made}, {seconds:.0f} s", err=True)


def table(chosen: Sequence[Configuration], *, console: Console) -> list[dict[str, Any]]:
    """All rows in order of their columns; kernels that several configurations share stand once."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    quiet = not console.is_terminal
    for configuration in track(chosen, "compiling", console=console, transient=True, disable=quiet):
        for row in compile_rows(configuration):
            found[tuple((isinstance(value, str), value) for value in row.values())] = row
    return [found[key] for key in sorted(found)]


if __name__ == "__main__":
    main()
