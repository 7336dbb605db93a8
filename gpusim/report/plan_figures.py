"""Figures of a plan, from its JSON form."""

from collections.abc import Mapping, Sequence
from typing import Any

from gpusim.report.curve_figure import curve_figure
from gpusim.report.page_figure import Figure
from gpusim.report.sensitivity_figure import sensitivity_figure

Row = Mapping[str, Any]


def curves(rows: Sequence[Row], targets: Row) -> Figure:
    """Latencies of every configuration over the rate that a dollar an hour buys."""
    tail = f"p{targets['percentile']:g}"
    table = [
        {
            "metric": f"{name.upper()} {tail} [ms]",
            "configuration": row["configuration"],
            "x": point["rate_rps"] / (row["tensor_parallel"] * row["price"]["usd_per_hour"]),
            "y": point[f"{name}_ms"]["target"],
            "target": targets[f"{name}_ms"],
        }
        for name in ("ttft", "tpot")
        for row in rows
        for point in row["curve"]
    ]
    return Figure(
        name="curves",
        svg=curve_figure(
            table, title="", form="svg", x_label="requests per second for a dollar an hour"
        ),
        caption="Latency over load. A configuration is the better the farther right its line"
        " crosses the dashed target. A fleet has a whole number of replicas, so that the cheapest"
        " one can be another; headroom is not in the lines.",
        alt="Latency percentiles of each configuration over rate per dollar, with the targets.",
        rows=table,
    )


def tornado(changes: Sequence[Row], base_usd: float) -> Figure | None:
    """How far each input moves the price; inputs that lose a target have no bar."""
    both: dict[str, dict[str, Row]] = {}
    for row in changes:
        side = "low" if row["change"].startswith("-") else "high"
        both.setdefault(row["input"], {})[side] = row
    table = [
        {
            "label": f"{name} ({pair['high']['change'].replace('+', '±')})",
            "low": pair["low"]["usd_per_hour_exact"],
            "high": pair["high"]["usd_per_hour_exact"],
            "base": base_usd,
            "unit": "$/h",
        }
        for name, pair in both.items()
        if all(pair[side]["usd_per_hour_exact"] is not None for side in ("low", "high"))
    ]
    if not table:
        return None
    return Figure(
        name="changes",
        svg=sensitivity_figure(table, title="", form="svg", change="input", what="price"),
        caption="Price per hour if one input were smaller or greater by the share in brackets,"
        " before replicas are rounded up to whole ones.",
        alt="Bars of the change in price by input; the table has the numbers.",
        rows=table,
    )
