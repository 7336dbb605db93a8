"""The table of `gpusim compare`."""

from collections.abc import Mapping, Sequence
from typing import Any

from gpusim.report.table import marked, percent, render, table
from gpusim.units import duration

Row = Mapping[str, Any]


def comparison_table(rows: Sequence[Row], baseline: str | None = None) -> str:
    """Per workload and GPU, the schedules from the fastest to the slowest."""
    starts = [index for index, row in enumerate(rows) if row["rank"] == 1]
    ends = [*starts[1:], len(rows)]
    return "\n".join(
        _ranking(rows[start:end], baseline) for start, end in zip(starts, ends, strict=True)
    )


def _ranking(rows: Sequence[Row], baseline: str | None) -> str:
    """Schedules whose answer is approximate say so after their name."""
    ranking = table(
        f">#|schedule|>time|>/ {baseline or 'best'}|bound|CTAs/SM (limiter)|>warps|>waves"
        "|>HBM / compulsory",
        title=f"{rows[0]['workload']}: {rows[0]['gpu']}",
    )
    for row in rows:
        occupancy, traffic = row["occupancy"], row["traffic"]
        hbm_bytes = traffic["hbm_read_bytes"] + traffic["hbm_write_bytes"]
        ranking.add_row(
            str(row["rank"]),
            marked(f"{row['schedule']} {row['options']}".rstrip(), row["approximation"]),
            duration(row["time_us"]),
            f"{row['ratio']:.2f}",
            row["bound"],
            f"{occupancy['ctas_per_sm']} ({occupancy['limiter']})",
            percent(occupancy["achieved_fraction"]),
            f"{row['waves']:.2f}",
            f"{hbm_bytes / traffic['compulsory_bytes']:.2f}",
        )
    reasons = [f" {row['rank']:>2}  {row['why']}" for row in rows if row["why"]]
    return render(ranking) + "\n" + "\n".join([" What they lose most by", *reasons, ""])
