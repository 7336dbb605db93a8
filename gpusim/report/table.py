"""Tables for the terminal."""

from collections.abc import Mapping, Sequence
from io import StringIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from gpusim.result import Result
from gpusim.schedules.occupancy import Occupancy
from gpusim.spec.gpu import Gpu


def render(table: Table) -> str:
    """The table as plain text, as wide as it needs to be."""
    text = StringIO()
    wide = Console(file=text, width=400, color_system=None, markup=False, emoji=False)
    wide.print(table)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def _table(columns: str, title: str | None = None) -> Table:
    """Columns by name; a leading '>' aligns right."""
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for name in columns.split("|"):
        right = name.startswith(">")
        table.add_column(name.lstrip(">"), justify="right" if right else "left", no_wrap=True)
    return table


def duration(us: float) -> str:
    """A time with three digits and a fitting unit.

    >>> duration(0.5), duration(84.3), duration(84543.7)
    ('0.500 us', '84.3 us', '84.5 ms')
    """
    for scale, unit in ((1e6, "s"), (1e3, "ms")):
        if us >= scale:
            return f"{_digits(us / scale)} {unit}"
    return f"{_digits(us)} us"


def _digits(value: float) -> str:
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3}f}"


def bytes_text(value: float) -> str:
    """Bytes with three digits in decimal units.

    >>> bytes_text(134_200_000)
    '134 MB'
    """
    for scale, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= scale:
            return f"{_digits(value / scale)} {unit}"
    return f"{value:.0f} B"


def percent(value: float) -> str:
    """A share in whole per cent."""
    return f"{100 * value:.0f}%"


def results_table(results: Sequence[Result]) -> str:
    """Per workload: a row per GPU and schedule, then where the time of each goes."""
    blocks = []
    for name in dict.fromkeys(r.workload for r in results):
        group = [r for r in results if r.workload == name]
        blocks += [_summary(name, group), _causes(group)]
    return "\n".join(blocks)


def _summary(name: str, results: Sequence[Result]) -> str:
    table = _table(
        "GPU|schedule|>time|bound|>TFLOP/s|>HBM GB/s|CTAs/SM (limiter)|>warps|>waves|>tail"
        "|>HBM traffic|>/ compulsory",
        title=name,
    )
    for result in results:
        main = result.main
        table.add_row(
            result.gpu,
            result.label,
            duration(result.time_us),
            result.bound,
            _digits(result.tflops),
            f"{result.hbm_gb_per_s:.0f}",
            f"{main.ctas_per_sm} ({main.limiter})",
            percent(main.achieved_fraction),
            f"{main.waves:.2f}",
            percent(result.breakdown.get("tail", 0.0)),
            bytes_text(result.hbm_bytes),
            f"{result.hbm_bytes / result.compulsory_bytes:.2f}",
        )
    return render(table)


def _causes(results: Sequence[Result]) -> str:
    """Share of the time by cause, the causes of more than half a per cent, greatest first."""
    weight: dict[str, float] = {}
    for result in results:
        for cause, share in result.breakdown.items():
            weight[cause] = max(weight.get(cause, 0.0), share)
    causes = sorted((c for c in weight if weight[c] >= 0.005), key=lambda c: -weight[c])
    table = _table("|".join(["where the time goes", "", *(f">{cause}" for cause in causes)]))
    for result in results:
        shares = [result.breakdown.get(cause, 0.0) for cause in causes]
        cells = [percent(share) if share >= 0.005 else "" for share in shares]
        table.add_row(result.gpu, result.label, *cells)
    return render(table)


def occupancy_table(found: Mapping[str, Occupancy]) -> str:
    """A row per GPU."""
    table = _table(
        "GPU|>CTAs/SM|>warps/SM|>occupancy|limiter|>by warps|>by registers|>by smem|>by CTAs"
        "|one more CTA needs"
    )
    for name, o in found.items():
        limits = [str(o.limits[k]) for k in ("warps", "registers", "shared_memory", "ctas")]
        table.add_row(
            name,
            str(o.ctas_per_sm),
            str(o.warps_per_sm),
            percent(o.fraction),
            o.limiter,
            *limits,
            _next_cta(o),
        )
    return render(table)


def _next_cta(o: Occupancy) -> str:
    if not o.next_registers or o.next_smem_bytes < 0:
        return "fewer threads a CTA" if o.limiter == "warps" else "more than the SM can hold"
    return f"registers <= {o.next_registers}, smem <= {o.next_smem_bytes} B"


def profiles_table(gpus: Sequence[Gpu]) -> str:
    """A row per profile."""
    table = _table(
        "name|description|>SMs|>boost MHz|>bf16 TFLOP/s at boost|>L2 MiB|>HBM GB|>HBM GB/s"
        "|>sustained|>numbers|>estimated"
    )
    for gpu in gpus:
        rates = gpu.tensor.wgmma_flop_per_clock or gpu.tensor.mma_sync_flop_per_clock
        peak = rates["bf16"] * gpu.sm.count * gpu.clock.boost_mhz / 1e6
        estimated = sum(p.kind == "estimated" for p in gpu.provenance.values())
        table.add_row(
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
    return render(table)


def profile_table(gpu: Gpu) -> str:
    """A row per number, with kind and source."""
    title = f"{gpu.name}: {gpu.description} (keys in brackets: hardware/README.md)"
    table = _table("number|>value|kind|source", title=title)
    for row in gpu.numbers():
        table.add_row(row["field"], f"{row['value']:g}", row["kind"], row["source"])
    return render(table)
