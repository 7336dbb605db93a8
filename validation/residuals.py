"""Where errors come from, drawn: `python -m validation.residuals`.

A figure for each GPU of the serving frameworks' rows: predicted / measured - 1 against what a call
is and how it fills the GPU. Where the error follows one of them, the model lacks something. The
rows are those of the tables (`validation/accuracy.py`): the same samples, by the same seed.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np

from gpusim.cli.output import write_file
from gpusim.errors import SpecError
from gpusim.schedules.catalogue import build_launches
from gpusim.schedules.mask import kv_bytes
from gpusim.schedules.occupancy import slots_of
from gpusim.spec.load import load_gpu
from gpusim.study import aiconfigurator
from gpusim.study.measured import MeasuredRow
from gpusim.study.predict_row import Prediction
from gpusim.study.simulate import ENGINES
from gpusim.study.validate import validate
from gpusim.units import MIB
from validation.accuracy import SAMPLE, SEED
from validation.command import run_command
from validation.kernel_pairs import by_system
from validation.residual_figure import Residuals, residual_figure

FOLDER = Path(__file__).parent / "figures"
#: Drawn from above; other phases follow.
PHASES = ("prefill", "decode")


class Quantity(NamedTuple):
    """What a panel has on its horizontal axis."""

    label: str
    value: Callable[[MeasuredRow], float]


def kv_over_l2(row: MeasuredRow) -> float:
    """KV bytes that the problem sees, over the L2 capacity of the GPU."""
    return kv_bytes(row.attention) / (load_gpu(row.gpu).l2.capacity_mib * MIB)


def waves(row: MeasuredRow) -> float:
    """Work items of the attention kernel over the CTAs that the GPU holds at once."""
    gpu = load_gpu(row.gpu)
    launches = build_launches(row.kernel, row.attention, gpu, {})
    main = max(launches, key=lambda launch: (launch.issued_flop, launch.work.num_items))
    slots = slots_of(
        gpu, threads=main.threads, registers=main.registers, smem_bytes=main.smem_bytes
    )
    return main.work.num_items / slots


QUANTITIES = (
    Quantity("batch", lambda row: row.attention.sequences[0].count),
    Quantity("KV length", lambda row: row.attention.sequences[0].kv_len),
    Quantity("query heads", lambda row: row.attention.q_heads),
    Quantity("query heads a KV head", lambda row: row.attention.group_size),
    Quantity("head size", lambda row: row.attention.head_dim),
    Quantity("KV bytes / L2 capacity", kv_over_l2),
    Quantity("work items / CTA slots", waves),
    Quantity("measured [us]", lambda row: row.measured_us),
)


def residuals(predictions: Iterable[Prediction]) -> list[Residuals]:
    """Errors and quantities of each phase, prefill first."""
    phases: dict[str, list[Prediction]] = {phase: [] for phase in PHASES}
    for p in predictions:
        phases.setdefault(p.row.phase, []).append(p)
    return [
        Residuals(
            phase=phase,
            kernel=[p.row.kernel for p in found],
            error=np.array([p.predicted_us / p.row.measured_us - 1 for p in found]),
            values={q.label: np.array([float(q.value(p.row)) for p in found]) for q in QUANTITIES},
        )
        for phase, found in phases.items()
        if found
    ]


def drawn(datasets: Sequence[str], *, engine: str, sample: int, workers: int) -> bytes:
    """The figure of a GPU's datasets, those whose kernels are modelled."""
    predictions: list[Prediction] = []
    for name in datasets:
        found = validate([name], engine=engine, sample=sample, seed=SEED, workers=workers)
        predictions += found.predictions
    gpu = load_gpu(predictions[0].row.gpu).name
    title = (
        f"{gpu}: predicted / measured - 1 by {engine}; points are rows, lines their medians\n"
        f"{' and '.join(datasets)}"
    )
    return residual_figure(residuals(predictions), title=title)


def modelled() -> list[str]:
    """Datasets of serving frameworks that have a modelled kernel.

    Raises:
        SpecError: without the extra `measurements`.
    """
    frameworks = {framework for framework, _ in aiconfigurator.KERNELS}
    return [n for n in aiconfigurator.datasets() if n.rpartition("/")[2] in frameworks]


@click.command()
@click.option("--sample", type=click.IntRange(min=1), default=SAMPLE, show_default=True)
@click.option("--engine", type=click.Choice(ENGINES), default="analytic", show_default=True)
@click.option("--workers", type=click.IntRange(1, 256), default=2, show_default=True)
@click.option("--gpu", "gpus", multiple=True, help="Only a system of the package, as h100_sxm.")
def main(sample: int, engine: str, workers: int, gpus: tuple[str, ...]) -> None:
    """Predict a sample of every dataset and draw its errors, a PNG for each GPU.

    Pictures go to validation/figures. It needs the extra `measurements`.
    """
    systems = by_system(modelled())
    for gpu in gpus:
        if gpu not in systems:
            raise SpecError(f"--gpu: expected one of {', '.join(systems)}, found {gpu!r}")
    for gpu, names in systems.items():
        if not gpus or gpu in gpus:
            picture = drawn(names, engine=engine, sample=sample, workers=workers)
            write_file(picture, FOLDER / f"residuals_{gpu}.png")
            click.echo(f"residuals_{gpu}.png: {len(picture) / 1e3:.0f} kB")


if __name__ == "__main__":
    run_command(main, "residuals")
