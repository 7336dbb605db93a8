"""What Triton makes of the frameworks' kernels: `python -m validation.framework_builds`.

Compiles the attention kernels of the installed SGLang and vLLM without a GPU, and writes
`compiled_frameworks/`: resources of each build, and the clocks of a pass of its main loop.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import track

from gpusim.cli.options import output_option
from gpusim.cli.output import emit
from gpusim.errors import SpecError
from validation.command import run_command
from validation.compile_kernels import WARP, check_compiler

if TYPE_CHECKING:
    from validation.framework_launches import Build
    from validation.offline import Compiled

#: Packages, and the release that the shipped table was made for.
FRAMEWORKS = {"sglang": "0.5.14", "vllm": "0.24.0"}
#: GPUs whose rates the loops are walked with.
GPUS = {"sm_89": "l40s", "sm_90": "h100_sxm"}
#: Constants of the launches that hold the keys of a pass.
TILES = ("BLOCK_N", "TILE_SIZE")


def build_row(build: "Build") -> dict[str, Any]:
    """Compile a build: its row of the table."""
    from validation.offline import compiled

    with compiled(build.arch) as launches, _as_with_a_gpu():
        try:
            build.launch()
        except ImportError as error:
            raise SpecError(f"{build.framework}: expected it to import, found: {error}") from error
        except Exception as error:
            error.add_note(f"while compiling {build}")
            raise
    return {
        "kernel": build.kernel,
        "arch": build.arch,
        "head_dim": build.head_dim,
        "dtype": build.dtype,
        "kv_dtype": build.kv_dtype,
        "window": str(build.window).lower(),
        **measured(launches[0], build),
    }


def measured(launch: "Compiled", build: "Build") -> dict[str, Any]:
    """Resources of a compiled launch, and the clocks of its last loop."""
    from gpusim.spec.load import load_gpu
    from validation.cubin import read_cubin
    from validation.loop_times import Launched, loop_times

    metadata, cubin = launch.binary.metadata, read_cubin(launch.binary.asm["cubin"])
    keys = next(launch.constants[name] for name in TILES if name in launch.constants)
    element = 1 if build.dtype == "fp8" else 2
    launched = Launched(
        warps=metadata.num_warps,
        smem_bytes=metadata.shared,
        tile_bytes=2 * keys * build.head_dim * element,
        through_port=build.kernel == "sglang_extend",
    )
    return {
        "threads": WARP * metadata.num_warps,
        "registers": cubin.registers,
        "smem_bytes": metadata.shared,
        "spill_bytes": cubin.spill_bytes,
        **loop_times(cubin, load_gpu(GPUS[build.arch]), launched),
    }


@contextmanager
def _as_with_a_gpu() -> Iterator[None]:
    """Let packages that define kernels only where Triton finds a driver find one."""
    from triton.backends import backends

    driver = backends["nvidia"].driver
    found = driver.__dict__["is_active"]
    driver.is_active = staticmethod(lambda: True)
    try:
        yield
    finally:
        driver.is_active = found


def _check_frameworks(names: Sequence[str]) -> None:
    """Refuse to begin without a package.

    Raises:
        SpecError: if one that is asked for is missing.
    """
    for name in names:
        if find_spec(name) is None:
            raise SpecError(
                f"expected the kernels of {name}, found no such package;"
                f" pip install '{name}=={FRAMEWORKS[name]}', or choose another with --framework"
            )


def _release(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # sources on the path, not installed
        return "of unknown release"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--framework",
    "frameworks",
    multiple=True,
    type=click.Choice(list(FRAMEWORKS)),
    help="Only the kernels of this one; both where it is not given.",
)
@output_option
def framework_builds(frameworks: tuple[str, ...], output: Path | None) -> None:
    """Compile the attention kernels of SGLang and vLLM, and write what came out as CSV."""
    chosen = frameworks or tuple(FRAMEWORKS)
    _check_frameworks(chosen)
    check_compiler()
    import triton

    from validation.framework_launches import builds

    started, console = time.monotonic(), Console(stderr=True)
    wanted = [build for build in builds() if build.framework in chosen]
    quiet = not console.is_terminal
    rows = [
        build_row(build)
        for build in track(wanted, "compiling", console=console, transient=True, disable=quiet)
    ]
    emit(rows, str, style="csv", output=output)
    releases = ", ".join(f"{name} {_release(name)}" for name in chosen)
    seconds = time.monotonic() - started
    made = f"{len(rows)} builds of {releases}, {seconds:.0f} s"
    click.echo(f"Triton {triton.__version__}: {made}", err=True)


def main() -> None:
    """Exit 0; 2 and one line for the user's mistake."""
    run_command(framework_builds, "framework_builds")


if __name__ == "__main__":
    main()
