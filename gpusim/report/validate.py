"""The table of `gpusim validate`."""

from collections.abc import Mapping
from typing import Any

from gpusim.report.table import percent, render, share, signed, table


def validation_table(statistics: Mapping[str, Any]) -> str:
    """Errors of all rows and by group, a roofline's beside them, and what was left out.

    Below stands how often the faster of two kernels was picked, if two ran on one problem.
    """
    drawn = table(
        "GPU|kernel|phase|measured|>rows|>median|>mean|>p90|>bias|>rank corr."
        "|>roofline median|>bias|>rank corr."
    )
    drawn.add_row("all", "", "", "", *_cells(statistics))
    drawn.add_row("all", "", "", "above 50 us", *_cells(statistics["above_50us"]), end_section=True)
    for group in statistics["groups"]:
        names = (group[name] for name in ("gpu", "kernel", "phase", "size"))
        drawn.add_row(*names, *_cells(group))
    text = render(drawn) + _pairs(statistics["pairs"])
    left_out = [f" {o['rows']:>6} of {o['of']}: {o['reason']}" for o in statistics["left_out"]]
    return text + "".join(f"{line}\n" for line in [" Left out", *left_out] if left_out)


def _pairs(pairs: Mapping[str, Any]) -> str:
    """A line on pairs of kernels, if there are any.

    >>> _pairs({"pairs": 8, "right": 0.75}), _pairs({"pairs": 0, "right": None})
    (' Faster of two kernels on one problem (more than 10%): 8 pairs, 75% right\\n', '')
    """
    if not pairs["pairs"]:
        return ""
    return (
        " Faster of two kernels on one problem (more than 10%):"
        f" {pairs['pairs']} pairs, {percent(pairs['right'])} right\n"
    )


def _cells(errors: Mapping[str, Any]) -> list[str]:
    shares = [share(errors[name]) for name in ("median_ape", "mean_ape", "p90_ape")]
    line = errors["roofline"]
    return [
        str(errors["rows"]),
        *shares,
        signed(errors["bias"]),
        _plain(errors["spearman"]),
        share(line["median_ape"]),
        signed(line["bias"]),
        _plain(line["spearman"]),
    ]


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
