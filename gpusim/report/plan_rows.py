"""What the page of a plan says of its configurations, from their JSON form: words and tables."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gpusim.report.page_table import Column, Table, numbers, one_share, shares, sizes, words

Row = Mapping[str, Any]

#: Hours of a month of 365 / 12 days.
HOURS_PER_MONTH = 730
NAMES = {
    "ttft": "the time to first token",
    "tpot": "the time per output token",
    "throughput": "throughput",
}
BECAUSE = {
    "kv_capacity": "the KV cache is full",
    "max_sequences": "a replica runs at most {max_sequences} sequences at once",
    "step_time": "steps take longer the more requests they serve",
    "chunk_tokens": "a step takes at most {chunk_tokens} tokens",
}


def per_month(usd_per_hour: float) -> float:
    """Rent of a month."""
    return HOURS_PER_MONTH * usd_per_hour


def usd(value: float) -> str:
    """US dollars for a sentence: cents up to a thousand, three digits below one.

    >>> usd(8.72), usd(6365.6), usd(0.1967)
    ('$8.72', '$6,366', '$0.197')
    """
    return f"${value:,.{3 if value < 1 else 2 if value < 1000 else 0}f}"


def ordered(result: Row) -> list[Row]:
    """Configurations: the cheapest that meet the targets first, those that miss one, the rest."""
    chosen = result["answer"]["configuration"]

    def place(row: Row) -> tuple[bool, bool, float, bool]:
        fleet = row["fleet"]
        price = fleet["usd_per_hour"] if fleet else 0.0
        return not row["fits"], fleet is None, price, row["configuration"] != chosen

    return sorted(result["configurations"], key=place)


def miss_text(miss: Row) -> str:
    """A target that is missed, and by how much."""
    name, found = NAMES[miss["target"]], _ms(miss["found_ms"])
    over = one_share(miss["over"])
    return f"{name} is {found} even when nearly idle, {over} over {_ms(miss['limit_ms'])}"


def choice_table(rows: Sequence[Row], chosen: str, percentile: float) -> Table:
    """Every configuration that meets the targets: how many, what they cost, how fast they are."""
    fleets = [row["fleet"] for row in rows]
    points = [fleet["operating_point"] for fleet in fleets]
    tail = f"p{percentile:g}"
    return Table(
        caption="Configurations that meet the targets, the cheapest first",
        columns=(
            words("configuration", (row["configuration"] for row in rows)),
            numbers("GPUs", (fleet["gpus"] for fleet in fleets)),
            numbers("replicas", (fleet["replicas"] for fleet in fleets)),
            _money("per hour", (fleet["usd_per_hour"] for fleet in fleets), 2),
            _money("per month", (per_month(fleet["usd_per_hour"]) for fleet in fleets), 0),
            _money(
                "per M output tokens",
                (fleet["usd_per_million_output_tokens"] for fleet in fleets),
                3,
            ),
            numbers("power", (fleet["watts"] / 1e3 for fleet in fleets), "kW"),
            numbers("goodput", (fleet["goodput_rps"] for fleet in fleets), "requests/s"),
            numbers(f"TTFT {tail}", (point["ttft_ms"]["target"] for point in points), "ms"),
            numbers(f"TPOT {tail}", (point["tpot_ms"]["target"] for point in points), "ms"),
            words("binds", (row["binds"] for row in rows)),
        ),
        best=frozenset(i for i, row in enumerate(rows) if row["configuration"] == chosen),
    )


def others_table(rows: Sequence[Row]) -> Table:
    """Configurations that cannot run, or hold the targets at no rate, and by how much."""
    return Table(
        caption="Configurations that do not do, and why",
        columns=(
            words("configuration", (row["configuration"] for row in rows)),
            words("why", (_why_not(row) for row in rows), wraps=True),
        ),
    )


def replica_table(rows: Sequence[Row]) -> Table:
    """One replica at its share of the planned rate."""
    points = [row["fleet"]["operating_point"] for row in rows]
    latencies = [
        numbers(f"{name.upper()} {tail}", (p[f"{name}_ms"][tail] for p in points), "ms")
        for name in ("ttft", "tpot")
        for tail in ("p50", "p90", "p99")
    ]
    return Table(
        caption="One replica at the planned rate",
        columns=(
            words("configuration", (row["configuration"] for row in rows)),
            numbers("rate", (p["rate_rps"] for p in points), "requests/s"),
            numbers("goodput", (row["goodput_rps"] for row in rows), "requests/s"),
            *latencies,
            numbers("mean batch", (p["mean_batch"] for p in points)),
            shares("KV cache used", (p["kv_fraction"] for p in points)),
            numbers("preemptions", (p["preemptions"] for p in points)),
        ),
        folded=True,
    )


def memory_table(rows: Sequence[Row]) -> Table:
    """Memory of one GPU, and how many tokens a replica can keep."""
    found = [row for row in rows if row["memory"]]
    memory = [row["memory"] for row in found]
    return Table(
        caption="Memory of one GPU",
        columns=(
            words("configuration", (row["configuration"] for row in found)),
            sizes("usable", (m["usable_bytes"] for m in memory)),
            sizes("weights", (m["weight_bytes"] for m in memory)),
            sizes("activations", (m["activation_bytes"] for m in memory)),
            sizes("KV cache", (max(0.0, m["kv_bytes"]) for m in memory)),
            numbers("KV cache", (m["kv_tokens"] for m in memory), "tokens"),
            numbers("max batch", (row["max_batch"] for row in found)),
            words("attention", (row["schedule"] for row in found)),
        ),
        folded=True,
    )


def price_table(rows: Sequence[Row]) -> Table:
    """Rent of each GPU, who asks it and when it was read."""
    prices = {row["gpu"]: row["price"] for row in rows}
    return Table(
        caption="Rent of one GPU",
        columns=(
            words("GPU", prices),
            _money("per hour", (price["usd_per_hour"] for price in prices.values()), 2),
            words("read on", (price["date"] for price in prices.values())),
            words("source", (price["source"] for price in prices.values()), wraps=True),
        ),
    )


def change_table(rows: Sequence[Row]) -> Table:
    """The answer if one input were different."""
    gpus = ("" if row["gpus"] is None else f"{row['gpus']:,}" for row in rows)
    exact = [row["gpus_exact"] for row in rows]
    return Table(
        caption=f"{rows[0]['of']} if one input were different, the greatest effect first",
        columns=(
            words("input", (row["input"] for row in rows)),
            Column("change", tuple(_minus(row["change"]) for row in rows), right=True),
            Column("GPUs", tuple(text or "misses" for text in gpus), right=True),
            Column(
                "before rounding",
                tuple("" if x is None else f"{x:,.3f}" for x in exact),
                "GPUs",
                right=True,
            ),
            _money("per hour", (row["usd_per_hour"] for row in rows), 2),
            words("the cheapest would be", (row["cheapest"] or "" for row in rows)),
        ),
    )


def traffic_table(traffic: Row) -> Table:
    """Lengths of the simulated requests."""
    kinds = ("prompt", "output")
    found = [traffic[f"{kind}_tokens"] for kind in kinds]
    return Table(
        caption=f"{traffic['requests']:,} simulated requests, tokens of each",
        columns=(
            words("tokens of", kinds),
            *(numbers(name, (row[name] for row in found)) for name in found[0]),
        ),
    )


def _why_not(row: Row) -> str:
    if not row["fits"]:
        return str(row["reason"])
    return "; ".join(miss_text(miss) for miss in row["missed"])


def _money(name: str, values: Iterable[float | None], places: int) -> Column:
    cells = ("" if value is None else f"{value:,.{places}f}" for value in values)
    return Column(name, tuple(cells), "$", right=True)


def _ms(value: float) -> str:
    return f"{value:,.0f}\N{NO-BREAK SPACE}ms"


def _minus(text: str) -> str:
    return str(text).replace("-", "\N{MINUS SIGN}").replace("%", "\N{NO-BREAK SPACE}%")
