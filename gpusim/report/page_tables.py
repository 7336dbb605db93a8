"""Tables of runs for a page, from their JSON form."""

from collections.abc import Sequence

from gpusim.report.page_rows import LEAST_SHARE, Row, fastest, hbm_bytes, is_model, label
from gpusim.report.page_table import Column, Table, numbers, shares, sizes, times, words


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
