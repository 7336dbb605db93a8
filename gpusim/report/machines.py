"""The tables of `gpusim occupancy` and `gpusim hardware`."""

from collections.abc import Mapping, Sequence

from gpusim.report.table import percent, render, table
from gpusim.schedules.occupancy import Occupancy
from gpusim.spec.gpu import Gpu


def occupancy_table(found: Mapping[str, Occupancy]) -> str:
    """A row per GPU."""
    rows = table(
        "GPU|>CTAs/SM|>warps/SM|>occupancy|limiter|>by warps|>by registers|>by smem|>by CTAs"
        "|one more CTA needs"
    )
    for name, o in found.items():
        limits = [str(o.limits[k]) for k in ("warps", "registers", "shared_memory", "ctas")]
        rows.add_row(
            name,
            str(o.ctas_per_sm),
            str(o.warps_per_sm),
            percent(o.fraction),
            o.limiter,
            *limits,
            _next_cta(o),
        )
    return render(rows)


def _next_cta(o: Occupancy) -> str:
    if not o.next_registers or o.next_smem_bytes < 0:
        return "fewer threads a CTA" if o.limiter == "warps" else "more than the SM can hold"
    return f"registers <= {o.next_registers}, smem <= {o.next_smem_bytes} B"


def profiles_table(gpus: Sequence[Gpu]) -> str:
    """A row per profile."""
    rows = table(
        "name|description|>SMs|>boost MHz|>bf16 TFLOP/s at boost|>L2 MiB|>HBM GB|>HBM GB/s"
        "|>sustained|>numbers|>estimated"
    )
    for gpu in gpus:
        rates = gpu.tensor.wgmma_flop_per_clock or gpu.tensor.mma_sync_flop_per_clock
        peak = rates["bf16"] * gpu.sm.count * gpu.clock.boost_mhz / 1e6
        estimated = sum(p.kind == "estimated" for p in gpu.provenance.values())
        rows.add_row(
            gpu.name,
            gpu.description,
            str(gpu.sm.count),
            f"{gpu.clock.boost_mhz:.0f}",
            f"{peak:.0f}",
            f"{gpu.l2.capacity_mib:.0f}",
            f"{gpu.hbm.capacity_gb:.0f}",
            f"{gpu.hbm.peak_gb_per_s:.0f}",
            f"{gpu.hbm.sustained_gb_per_s:.0f}",
            str(len(gpu.provenance)),
            str(estimated),
        )
    return render(rows)


def profile_table(gpu: Gpu) -> str:
    """A row per number, with kind and source."""
    title = f"{gpu.name}: {gpu.description} (keys in brackets: hardware/README.md)"
    rows = table("number|>value|kind|>uncalibrated|bounds|source", title=title)
    for row in gpu.numbers():
        nominal, bounds = row.get("nominal"), row.get("bounds")
        rows.add_row(
            row["field"],
            f"{row['value']:g}",
            row["kind"],
            f"{nominal['value']:g}" if nominal else "",
            f"{bounds['low']:g} to {bounds['high']:g}" if bounds else "",
            row["source"],
        )
    return render(rows)
