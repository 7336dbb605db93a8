"""What pages say of runs, from their JSON form: names, causes in words, tables."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gpusim.report.page_table import (
    Column,
    Table,
    numbers,
    one_share,
    one_size,
    shares,
    sizes,
    times,
    words,
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


def summary_table(rows: Sequence[Row], caption: str) -> Table:
    """Time, bound and rates of each run; of single calls their occupancy too."""
    best = fastest(rows)
    return Table(
        caption=caption,
        columns=(
            words("schedule", map(label, rows)),
            times("time", (row["time_us"] for row in rows)),
            Column("/ best", tuple(_ratio(row, best) for row in rows), right=True),
            words("bound", (row["bound"] for row in rows)),
            numbers("useful", (row["tflops"] for row in rows), "TFLOP/s"),
            numbers("memory", (row["hbm_gb_per_s"] for row in rows), "GB/s"),
            *(() if any(map(is_model, rows)) else _occupancy(rows)),
        ),
        groups=_gpus(rows),
        best=frozenset({rows.index(best)}),
    )


def is_model(row: Row) -> bool:
    """Whether a run is a step of a whole model: occupancy is then one of many kernels'."""
    return bool(row.get("model"))


def _occupancy(rows: Sequence[Row]) -> tuple[Column, ...]:
    return (
        words("CTAs/SM", (_ctas(row["occupancy"]) for row in rows)),
        shares("warps", (row["occupancy"]["achieved_fraction"] for row in rows)),
        Column("waves", tuple(f"{row['waves']:.2f}" for row in rows), right=True),
        shares("tail", (row["breakdown"].get("tail", 0.0) for row in rows)),
    )


def breakdown_table(rows: Sequence[Row]) -> Table:
    """Share of the time by cause; causes of half a per cent and more, the greatest first."""
    greatest: dict[str, float] = {}
    for row in rows:
        for cause, share in row["breakdown"].items():
            greatest[cause] = max(greatest.get(cause, 0.0), share)
    causes = sorted((c for c in greatest if greatest[c] >= LEAST_SHARE), key=lambda c: -greatest[c])
    columns = [
        shares(cause, (_worth_saying(row["breakdown"].get(cause)) for row in rows))
        for cause in causes
    ]
    return Table(
        caption="Share of the time, by cause",
        columns=(words("schedule", map(label, rows)), *columns),
        groups=_gpus(rows),
        folded=True,
    )


def traffic_table(rows: Sequence[Row]) -> Table:
    """Bytes by level of memory, and against the least that any kernel must move."""
    traffic = [row["traffic"] for row in rows]
    over = (f"{hbm_bytes(row) / row['traffic']['compulsory_bytes']:.2f}" for row in rows)
    return Table(
        caption="Bytes moved",
        columns=(
            words("schedule", map(label, rows)),
            sizes("memory, read", (t["hbm_read_bytes"] for t in traffic)),
            sizes("memory, written", (t["hbm_write_bytes"] for t in traffic)),
            sizes("least traffic", (t["compulsory_bytes"] for t in traffic)),
            Column("/ least", tuple(over), right=True),
            sizes("L2 to SMs", (t["l2_to_sm_bytes"] for t in traffic)),
            sizes("shared memory", (t["smem_bytes"] for t in traffic)),
            numbers("energy", (1e3 * row["energy_j"] for row in rows), "mJ"),
        ),
        groups=_gpus(rows),
    )


def launches_table(rows: Sequence[Row]) -> Table:
    """Every kernel launch: grid, resources, time and tile."""
    found = [(row, launch) for row in rows for launch in row["launches"]]
    launches = [launch for _, launch in found]
    calls = [launch.get("calls", 1) for launch in launches]
    totals = (count * launch["time_us"] for count, launch in zip(calls, launches, strict=True))
    repeated = (numbers("calls", calls), times("time of all", totals)) if max(calls) > 1 else ()
    return Table(
        caption="Kernel launches",
        columns=(
            words("schedule", (label(row) for row, _ in found)),
            words("kernel", (la["name"] for la in launches)),
            *repeated,
            times("time", (la["time_us"] for la in launches)),
            times("gap before", (la["gap_us"] for la in launches)),
            words("bound", (la["bound"] for la in launches)),
            numbers("CTAs", (la["ctas"] for la in launches)),
            numbers("threads", (la["threads"] for la in launches)),
            numbers("registers", (la["registers"] for la in launches)),
            numbers("shared memory", (la["smem_bytes"] for la in launches), "B"),
            words("CTAs/SM", (_ctas(la) for la in launches)),
            words("tile", (_tile(la["tile"]) for la in launches), wraps=True),
        ),
        groups=_gpus([row for row, _ in found]),
        folded=True,
    )


def winners_table(groups: Sequence[Sequence[Row]]) -> Table:
    """The best of each group of runs."""
    best = [fastest(group) for group in groups]
    return Table(
        caption="The fastest schedule with an exact answer",
        columns=(
            words("workload", (row["workload"] for row in best)),
            words("GPU", (row["gpu"] for row in best)),
            words("schedule", map(label, best)),
            times("time", (row["time_us"] for row in best)),
            words("bound", (row["bound"] for row in best)),
        ),
    )


def left_out(skipped: Sequence[str]) -> Table:
    """What did not run, and why."""
    return Table(
        caption="Combinations that cannot run, and why",
        columns=(Column("reason", tuple(skipped), wraps=True),),
    )


def terms_of(rows: Sequence[Row]) -> list[str]:
    """Terms that the tables of these runs use."""
    causes = [c for row in rows for c, share in row["breakdown"].items() if share >= LEAST_SHARE]
    bounds = [launch["bound"] for row in rows for launch in row["launches"]]
    approximations = [row["approximation"] for row in rows]
    always = ["bound", "CTA", "slot", "CTAs/SM", "warps", "waves", "least traffic", "useful"]
    return [*causes, *bounds, *approximations, *always, "load", "cold, warm", "tail"]


def _gpus(rows: Sequence[Row]) -> tuple[str, ...]:
    return tuple(row["gpu"] for row in rows)


def _ratio(row: Row, best: Row) -> str:
    return f"{row['time_us'] / best['time_us']:.2f}"


def _ctas(of: Row) -> str:
    return f"{of['ctas_per_sm']} ({of['limiter']})"


def _tile(tile: Row) -> str:
    return ", ".join(f"{name} {value}" for name, value in tile.items())


def _worth_saying(share: float | None) -> float | None:
    return share if share is not None and share >= LEAST_SHARE else None
