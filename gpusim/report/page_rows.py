"""What pages say of runs, from their JSON form: names, causes in words, tables."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gpusim.report.page_table import (
    one_share,
    one_size,
)
from gpusim.report.table import marked
from gpusim.spec.gpu import Gpu

Row = Mapping[str, Any]

#: A cause of less than this share of the time has no column.
LEAST_SHARE = 0.005
#: Why a run takes its time, by its bound; a pipe's name stands for the steps that it paces.
_PACE = {
    "hbm": "the GPU's memory sets the pace",
    "l2": "the L2 cache sets the pace",
    "tensor": "matrix products on the tensor cores set the pace",
    "shared_memory": "shared memory sets the pace of the kernel's steps",
    "exp2": "the exponentials of the softmax set the pace",
    "fp32": "the softmax's other arithmetic sets the pace",
    "convert": "conversions between data types set the pace",
    "issue": "instruction issue sets the pace",
    "sync": "barriers and waits for loads within steps set the pace",
    "load_latency": "waits for loads set the pace",
    "cta_latency": "starting and ending CTAs sets the pace",
    "fix_up": "waits for partial results set the pace",
    "launch": "gaps between kernels set the pace",
    "attention": "attention takes most of the time",
    "gemm": "the matrix products of the layers take most of the time",
    "norms": "norms, rotary embeddings and activations take most of the time",
    "head": "embedding, logits and sampling take most of the time",
    "all_reduce": "exchange between the GPUs takes most of the time",
    "framework": "the framework takes most of the time, beside its kernels",
}


def label(row: Row) -> str:
    """A schedule with its options, and what its answer lacks."""
    options = {k: v for k, v in row["options"].items() if not isinstance(v, dict)}
    name = " ".join([row["schedule"], *(f"{k}={v}" for k, v in options.items())])
    return marked(name, row["approximation"])


def by_workload(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows by the name of their workload."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["workload"], []).append(row)
    return groups


def title_of(names: Iterable[str]) -> str:
    """The title of a page on some workloads."""
    first, *more = names
    return f"{first} and {len(more)} more" if more else first


def sentence(text: str) -> str:
    """Words as a sentence.

    >>> sentence("it is so")
    'It is so.'
    """
    return f"{text[:1].upper()}{text[1:]}."


def gpu_names(gpus: Iterable[Gpu]) -> dict[str, str]:
    """What to call a profile in a sentence: its description, if it has one."""
    return {gpu.name: gpu.description or gpu.name for gpu in gpus}


def hbm_bytes(row: Row) -> float:
    """Bytes over the memory bus, both ways."""
    return float(row["traffic"]["hbm_read_bytes"] + row["traffic"]["hbm_write_bytes"])


def fastest(rows: Sequence[Row]) -> Row:
    """The fastest run whose answer is exact; of all, if none is."""
    exact = [row for row in rows if not row["approximation"]]
    return min(exact or rows, key=lambda row: float(row["time_us"]))


def pace(row: Row) -> str:
    """What sets the pace of a run, in a sentence without its full stop."""
    share = row["breakdown"].get(row["bound"], 0.0)
    said = _PACE.get(row["bound"], f"{row['bound']} sets the pace")
    over = hbm_bytes(row) / row["traffic"]["compulsory_bytes"]
    moved = f"it moves {one_size(hbm_bytes(row))}, {over:.2f} times the least possible"
    return f"{said} ({one_share(share)}); {moved}" if share else f"{said}; {moved}"


def is_model(row: Row) -> bool:
    """Whether a run is a step of a whole model: occupancy is then one of many kernels'."""
    return bool(row.get("model"))


def terms_of(rows: Sequence[Row]) -> list[str]:
    """Terms that the tables of these runs use."""
    causes = [c for row in rows for c, share in row["breakdown"].items() if share >= LEAST_SHARE]
    bounds = [launch["bound"] for row in rows for launch in row["launches"]]
    approximations = [row["approximation"] for row in rows]
    always = ["bound", "CTA", "slot", "CTAs/SM", "warps", "waves", "least traffic", "useful"]
    return [*causes, *bounds, *approximations, *always, "load", "cold, warm", "tail"]
