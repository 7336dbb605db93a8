"""The tables of `gpusim simulate`."""

from collections.abc import Sequence

from gpusim.report.table import bytes_text, marked, percent, render, table
from gpusim.result import Result
from gpusim.units import digits, duration


def results_table(results: Sequence[Result]) -> str:
    """Per workload: a row per GPU and schedule, then where the time of each goes."""
    blocks = []
    for name in dict.fromkeys(r.workload for r in results):
        group = [r for r in results if r.workload == name]
        blocks += [_summary(name, group), _causes(group)]
    return "\n".join(blocks)


def _summary(name: str, results: Sequence[Result]) -> str:
    rows = table(
        "GPU|schedule|>time|bound|>TFLOP/s|>HBM GB/s|CTAs/SM (limiter)|>warps|>waves|>tail"
        "|>HBM traffic|>/ compulsory",
        title=name,
    )
    for result in results:
        main = result.main
        rows.add_row(
            result.gpu,
            marked(result.label, result.approximation),
            duration(result.time_us),
            result.bound,
            digits(result.tflops),
            f"{result.hbm_gb_per_s:.0f}",
            f"{main.ctas_per_sm} ({main.limiter})",
            percent(main.achieved_fraction),
            f"{main.waves:.2f}",
            percent(result.breakdown.get("tail", 0.0)),
            bytes_text(result.hbm_bytes),
            f"{result.hbm_bytes / result.compulsory_bytes:.2f}",
        )
    return render(rows)


def _causes(results: Sequence[Result]) -> str:
    """Share of the time by cause, the causes of more than half a per cent, greatest first."""
    weight: dict[str, float] = {}
    for result in results:
        for cause, share in result.breakdown.items():
            weight[cause] = max(weight.get(cause, 0.0), share)
    causes = sorted((c for c in weight if weight[c] >= 0.005), key=lambda c: -weight[c])
    rows = table("|".join(["where the time goes", "", *(f">{cause}" for cause in causes)]))
    for result in results:
        shares = [result.breakdown.get(cause, 0.0) for cause in causes]
        cells = [percent(share) if share >= 0.005 else "" for share in shares]
        rows.add_row(result.gpu, marked(result.label, result.approximation), *cells)
    return render(rows)
