"""The table of `gpusim tune`."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from gpusim.report.table import marked, percent, render, table
from gpusim.units import duration

Row = Mapping[str, Any]

#: Runners-up of a workload and GPU that are drawn; JSON and CSV have them all.
MOST_RUNNERS_UP = 10
#: Shares below this are not worth a word.
LEAST_SHARE = 0.1


def tuning_table(rows: Sequence[Row]) -> str:
    """Per workload and GPU: the best, its runners-up, and every schedule as it is."""
    groups = groupby(rows, key=lambda row: (row["workload"], row["gpu"]))
    return "\n".join(_group(list(group)) for _, group in groups)


def _group(rows: Sequence[Row]) -> str:
    runners = [row for row in rows if row["role"] == "runner-up"]
    hidden = [row for row in runners[MOST_RUNNERS_UP:] if not row["untuned"]]
    drawn = table(
        ">#|schedule|>tile|>warps|>stages|>splits|>time|>/ best|>closed form|bound"
        "|CTAs/SM (limiter)|where the time goes",
        title=f"{rows[0]['workload']}: {rows[0]['gpu']}",
    )
    for row in rows:
        if row not in hidden:
            drawn.add_row(*_cells(row))
    return render(drawn) + "\n".join(f" {line}" for line in _notes(rows, len(hidden))) + "\n"


def _cells(row: Row) -> list[str]:
    chosen, occupancy = row["configuration"], row["occupancy"]
    given = f" {row['options']}" if row["untuned"] and row["options"] else ""
    name = marked(row["schedule"] + given, row["approximation"])
    sizes = [chosen.get(side) for side in ("block_m", "block_n")]
    causes = sorted(row["breakdown"].items(), key=lambda cause: -cause[1])[:3]
    return [
        str(row["rank"]),
        f"{name} as it is" if row["untuned"] else name,
        f"{sizes[0]}x{sizes[1]}" if all(sizes) else "",
        *(str(chosen.get(option, "")) for option in ("num_warps", "stages", "num_splits")),
        duration(row["time_us"]),
        f"{row['ratio']:.3f}",
        duration(row["analytic_us"]),
        row["bound"],
        f"{occupancy['ctas_per_sm']} ({occupancy['limiter'].replace('_', ' ')})",
        ", ".join(f"{cause} {percent(part)}" for cause, part in causes if part >= LEAST_SHARE),
    ]


def _notes(rows: Sequence[Row], hidden: int) -> list[str]:
    """What was searched, and what the best is worth."""
    best, done = rows[0], rows[0]["search"]
    untuned = [row for row in rows if row["untuned"] and not row["approximation"]]
    notes = [f"{hidden} more within 3 % of the best"] if hidden else []
    if best["untuned"]:
        notes.append("As it is, the best schedule needs no tuning here.")
    elif untuned:
        gain = f"{untuned[0]['ratio']:.2f}x the best"
        notes.append(f"As it is, the fastest schedule is {untuned[0]['schedule']}: {gain}.")
    refused = sorted(done["refused"].items(), key=lambda reason: -reason[1])
    notes.append(
        f"Of about {done['configurations']} configurations, {done['analytic']} by analytic and"
        f" {done['sim']} by sim"
        + "; no candidates: " * bool(refused)
        + ", ".join(f"{count} tiles ({reason})" for reason, count in refused)
    )
    return notes
