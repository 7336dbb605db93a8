"""How far predicted all-reduces lie from measured ones: `python -m validation.all_reduce`.

Predicts every all-reduce of the package `aiconfigurator-core` that a serving framework replays in a
CUDA graph, and NCCL's where frameworks leave the sum to it, and prints a table of this folder's
README.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module

import click

from gpusim.cli.output import write_file
from gpusim.machine.all_reduce import CUSTOM_LIMIT_BYTES, all_reduce_us
from gpusim.spec.gpu import Gpu
from gpusim.spec.load import load_gpu
from gpusim.study.accuracy import errors
from gpusim.study.aiconfigurator import GPUS, data_folder, newest
from gpusim.units import MIB
from validation.accuracy import HOLD_OUT, README, with_tables
from validation.command import run_command
from validation.tables import markdown, percent

BEGIN, END = "<!-- all-reduce -->\n", "<!-- end of all-reduce -->\n"
FRAMEWORKS = ("sglang", "vllm", "nccl")
#: Where the constants of `link` come from (`hardware/*.yaml`).
FIT_SETS = {("a100_sxm", "sglang"), ("a100_sxm", "vllm"), ("h100_sxm", "sglang"), ("l40s", "vllm")}
#: Sizes in the tables count elements of two bytes.
ELEMENT_BYTES = 2
#: Rows above this are read apart: below it the launch weighs most.
FLOOR_US = 20.0
#: SGLang's own kernel takes this much too, on Hopper twice as much, as its rows show.
SGLANG_LIMIT_BYTES = 8 * MIB
COLUMNS = (
    "GPU|rows of|set",
    "rows|median|p90|bias|rank corr.|above 20 us: rows|median|p90|bias",
)

_INTRODUCTION = """\
```sh
python -m validation.all_reduce --write
```

made this table, of all rows in the newest version of each framework: errors in per cent.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One measured all-reduce: GPUs, bytes on each, measured and predicted time."""

    gpus: int
    num_bytes: int
    measured_us: float
    predicted_us: float


def read(system: str, framework: str) -> list[Row]:
    """The rows of a system and framework, predicted."""
    gpu = load_gpu(GPUS[system])
    folder = data_folder() / system / "comm" / framework
    name = "nccl_perf" if framework == "nccl" else "custom_allreduce_perf"
    table = import_module("pyarrow.parquet").read_table(newest(folder) / f"{name}.parquet")
    limit = _limit(gpu, framework)
    return [
        Row(
            raw["num_gpus"],
            size := ELEMENT_BYTES * raw["message_size"],
            1000 * raw["latency"],
            all_reduce_us(gpu, size, raw["num_gpus"], custom_limit=limit),
        )
        for raw in table.to_pylist()
        if _counts(raw, gpu, framework)
    ]


def _counts(raw: dict[str, object], gpu: Gpu, framework: str) -> bool:
    """Whether a row is one replayed in a graph, and NCCL's one that a framework would leave it."""
    if framework != "nccl":
        return str(raw["backend"]).endswith("_graph")
    if (raw["op_name"], raw["nccl_dtype"]) != ("all_reduce", "half"):
        return False
    size, gpus = ELEMENT_BYTES * int(str(raw["message_size"])), int(str(raw["num_gpus"]))
    return size >= CUSTOM_LIMIT_BYTES or max(2, gpu.link.nvlink_gpus) < gpus


def _limit(gpu: Gpu, framework: str) -> float:
    """From so many bytes on the framework's own kernel is not used."""
    if framework == "nccl":
        return 0.0
    if framework == "vllm":
        return CUSTOM_LIMIT_BYTES
    hopper = bool(gpu.tensor.wgmma_flop_per_clock)
    return (2 if hopper else 1) * SGLANG_LIMIT_BYTES + 1


def lines() -> Iterator[list[str]]:
    """A line of the table for each system and framework."""
    for system in GPUS:
        for framework in FRAMEWORKS:
            rows = read(system, framework)
            large = [row for row in rows if row.measured_us > FLOOR_US]
            label = "fit" if (system, framework) in FIT_SETS else HOLD_OUT
            every, above = _errors(rows), _errors(large)
            yield [
                f"`{GPUS[system]}`",
                "NCCL" if framework == "nccl" else framework,
                label,
                *every[:4],
                every[4],
                *above[:4],
            ]


def _errors(rows: Sequence[Row]) -> list[str]:
    found = errors([row.predicted_us for row in rows], [row.measured_us for row in rows])
    return [
        str(found["rows"]),
        percent(found["median_ape"]),
        percent(found["p90_ape"]),
        percent(found["bias"], "+"),
        "" if found["spearman"] is None else f"{found['spearman']:.3f}",
    ]


@click.command()
@click.option("--write", is_flag=True, help="Into validation/README.md, not standard output.")
def main(*, write: bool) -> None:
    """Predict measured all-reduces."""
    tables = "\n".join([_INTRODUCTION, markdown(COLUMNS, lines())])
    if not write:
        click.echo(tables, nl=False)
        return
    text = with_tables(README.read_text(encoding="utf-8"), tables, BEGIN, END)
    write_file(text.encode(), README)


if __name__ == "__main__":
    run_command(main, "all_reduce")
