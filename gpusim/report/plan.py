"""The table of `gpusim plan`: the answer, the configurations, and what changes the answer."""

from collections.abc import Mapping, Sequence
from typing import Any

from gpusim.report.table import percent, render, share, table
from gpusim.units import digits

Row = Mapping[str, Any]

#: Of the rate and its headroom: what one replica less may leave unserved to be worth a sentence.
NEARLY = 0.05

_REASONS = {
    "kv_capacity": "KV cache",
    "max_sequences": "max_sequences",
    "step_time": "step time",
}


def plan_table(result: Row) -> str:
    """All parts of a plan's answer, from its JSON form."""
    parts = [
        _headline(result),
        _configurations(result),
        _missed(result["configurations"]),
        _sensitivity(result["sensitivity"]),
        "Assumptions\n" + "".join(f"- {text}\n" for text in result["assumptions"]),
    ]
    return "\n".join(part for part in parts if part)


def answer_text(result: Row) -> str:
    """The answer in a sentence or two."""
    answer, plan = result["answer"], result["plan"]
    targets = plan["targets"]
    goal = (
        f"{digits(plan['traffic']['rate_per_s'])} requests/s with p{targets['percentile']:g}"
        f" TTFT {targets['ttft_ms']:g} ms and TPOT {targets['tpot_ms']:g} ms"
    )
    if answer["configuration"] is None:
        return f"No configuration can run this plan; see the reasons below. Asked: {goal}."
    if not answer["meets_targets"]:
        missed = "; ".join(_miss_text(miss) for miss in answer["missed"])
        return f"No configuration holds {goal}. The nearest, {answer['configuration']}: {missed}."
    replicas = "1 replica" if answer["replicas"] == 1 else f"{answer['replicas']} replicas"
    return (
        f"{answer['gpus']} x {answer['gpu']} ({replicas} of"
        f" {answer['tensor_parallel']}) hold {goal}, {percent(plan['headroom'])} headroom"
        f" included: {answer['usd_per_hour']:.2f} USD per hour,"
        f" {answer['usd_per_million_output_tokens']:.3f} USD per million output tokens"
        f" ({answer['usd_per_million_total_tokens']:.3f} per million of all tokens),"
        f" {answer['watts'] / 1e3:.1f} kW. {_binding_text(answer)}{edge_text(answer)}"
    )


def edge_text(answer: Row) -> str:
    """A sentence where one replica less would almost do."""
    if answer["replicas"] == 1 or answer["short_by"] > NEARLY:
        return ""
    return f" One replica less would fall short of the rate by {share(answer['short_by'])}."


def _headline(result: Row) -> str:
    plan, traffic = result["plan"], result["traffic"]
    lengths = ", ".join(
        f"{name} of {traffic[f'{name}_tokens']['mean']:.0f} tokens on average"
        f" (p99 {traffic[f'{name}_tokens']['p99']:.0f})"
        for name in ("prompt", "output")
    )
    model = plan["model"]["name"]
    return (
        f"{plan['name']}: {model}, weights {plan['weight_dtype']}, cache {plan['kv_dtype']}\n"
        f"{traffic['requests']} requests simulated, seed {plan['traffic']['seed']}: {lengths}\n\n"
        f"{answer_text(result)}\n"
    )


def _binding_text(answer: Row) -> str:
    what = {
        "ttft": "The time to first token binds",
        "tpot": "The time per output token binds",
        "throughput": "Throughput binds before latency",
    }[answer["binds"]]
    return f"{what} ({_REASONS[answer['because']]})."


def _miss_text(miss: Row) -> str:
    return (
        f"{miss['target'].upper()} is {digits(miss['found_ms'])} ms at the lowest load,"
        f" {percent(miss['over'])} over {miss['limit_ms']:g} ms"
    )


def _configurations(result: Row) -> str:
    """The cheapest first; then those that miss a target, then those that do not fit."""
    rank = f"p{result['plan']['targets']['percentile']:g}"
    drawn = table(
        ">#|configuration|>KV tokens|>max batch|>goodput/s|>GPUs|>USD/h|>USD/M out|>kW"
        "|>TTFT ms|>TPOT ms|>batch|binds",
        title=f"Goodput is of one replica; {rank} latencies and mean batch are those of a replica"
        " at its share of the rate",
    )
    rows = sorted(result["configurations"], key=_order)
    for place, row in enumerate(rows, 1):
        drawn.add_row(str(place), row["configuration"], *_cells(row))
    return render(drawn)


def _order(row: Row) -> tuple[bool, bool, float]:
    fleet = row["fleet"]
    return not row["fits"], fleet is None, fleet["usd_per_hour"] if fleet else 0.0


def _cells(row: Row) -> list[str]:
    tokens = f"{row['memory']['kv_tokens']}" if row["memory"] else ""
    if not row["fits"]:
        return [tokens, *[""] * 9, row["reason"]]
    batch = str(row["max_batch"])
    if row["fleet"] is None:
        lowest = row["curve"][0]
        latencies = [digits(lowest[name]["target"]) for name in ("ttft_ms", "tpot_ms")]
        missed = ", ".join(miss["target"] for miss in row["missed"])
        return [tokens, batch, "0", *[""] * 4, *latencies, "", f"misses {missed} at any load"]
    fleet, at = row["fleet"], row["fleet"]["operating_point"]
    return [
        tokens,
        batch,
        digits(row["goodput_rps"]),
        str(fleet["gpus"]),
        f"{fleet['usd_per_hour']:.2f}",
        f"{fleet['usd_per_million_output_tokens']:.3f}",
        f"{fleet['watts'] / 1e3:.1f}",
        digits(at["ttft_ms"]["target"]),
        digits(at["tpot_ms"]["target"]),
        digits(at["mean_batch"]),
        f"{row['binds']} ({_REASONS[row['because']]})",
    ]


def _missed(rows: Sequence[Row]) -> str:
    lines = [
        f" {row['configuration']}: {'; '.join(_miss_text(miss) for miss in row['missed'])}"
        for row in rows
        if row["missed"]
    ]
    return "\n".join(["Targets that no load keeps", *lines, ""]) if lines else ""


def _sensitivity(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    drawn = table(
        "input|>change|>GPUs|>USD/h|>GPUs before rounding|cheapest then",
        title=f"What changes the answer of {rows[0]['of']} most",
    )
    for row in rows:
        met = row["gpus"] is not None
        drawn.add_row(
            row["input"],
            row["change"],
            str(row["gpus"]) if met else "misses",
            f"{row['usd_per_hour']:.2f}" if met else "",
            f"{row['gpus_exact']:.3f}" if met else "",
            row["cheapest"] or "",
        )
    return render(drawn)
