"""The page of `gpusim plan`."""

from collections.abc import Iterator, Mapping
from typing import Any

from gpusim.report.glossary import glossary
from gpusim.report.page import Card, Page, Section
from gpusim.report.page_figure import Figure
from gpusim.report.page_inputs import Inputs
from gpusim.report.page_rows import gpu_names
from gpusim.report.page_table import Table, one_number, one_share
from gpusim.report.plan import edge_text
from gpusim.report.plan_figures import curves, tornado
from gpusim.report.plan_rows import (
    BECAUSE,
    HOURS_PER_MONTH,
    NAMES,
    change_table,
    choice_table,
    memory_table,
    miss_text,
    ordered,
    others_table,
    per_month,
    price_table,
    replica_table,
    traffic_table,
    usd,
)

Row = Mapping[str, Any]

_TERMS = ("replica", "x2", "TTFT", "TPOT", "goodput", "headroom", "p95", "KV cache", "max batch")


def plan_page(result: Row, inputs: Inputs) -> Page:
    """The page of a plan in its JSON form."""
    plan, answer = result["plan"], result["answer"]
    met = answer["meets_targets"]
    return Page(
        kind=f"Capacity plan for {plan['model']['name']}",
        title=plan["name"],
        answer=_answer(result, inputs),
        because=tuple(_because(result, inputs)),
        cards=_cards(result) if met else _cards_of_misses(answer),
        evidence=tuple(_evidence(result)),
        inputs=inputs,
        assumptions=tuple(result["assumptions"]),
        glossary=glossary([*_TERMS, "step time", "preemptions"]),
        results=result,
        more={"hours_per_month": HOURS_PER_MONTH, "usd_per_month": _monthly(result)},
    )


def _monthly(result: Row) -> dict[str, float]:
    return {
        row["configuration"]: per_month(row["fleet"]["usd_per_hour"])
        for row in result["configurations"]
        if row["fleet"]
    }


def _answer(result: Row, inputs: Inputs) -> str:
    answer = result["answer"]
    if answer["configuration"] is None:
        return "None of these GPUs can run the model."
    if not answer["meets_targets"]:
        return "No number of these GPUs keeps the targets."
    gpu = gpu_names(inputs.gpus).get(answer["gpu"], answer["gpu"])
    hourly = answer["usd_per_hour"]
    price = f"{usd(hourly)} an hour, {usd(per_month(hourly))} a month"
    return f"Rent {_times(answer['gpus'], gpu)}: {price}."


def _because(result: Row, inputs: Inputs) -> Iterator[str]:
    answer, plan = result["answer"], result["plan"]
    yield _asked(plan)
    if answer["configuration"] is None:
        return
    if not answer["meets_targets"]:
        missed = "; ".join(miss_text(miss) for miss in answer["missed"])
        yield f"The nearest is {answer['configuration']}: {missed}."
        return
    yield _fleet(answer, plan["serving"])
    yield from _next_gpu(result, inputs)
    yield from _how_sure(result)


def _asked(plan: Row) -> str:
    targets, share = plan["targets"], f"{plan['targets']['percentile']:g}\N{NO-BREAK SPACE}%"
    return (
        f"Asked for: {one_number(plan['traffic']['rate_per_s'])} requests per second, of which"
        f" {share} wait at most {targets['ttft_ms']:,.0f}\N{NO-BREAK SPACE}ms for the first token"
        f" and {share} at most {targets['tpot_ms']:,.0f}\N{NO-BREAK SPACE}ms for each one after;"
        f" {one_share(plan['headroom'])} more than that rate is kept as headroom."
    )


def _fleet(answer: Row, serving: Row) -> str:
    each = answer["tensor_parallel"]
    replicas = "One replica" if answer["replicas"] == 1 else f"{answer['replicas']} replicas"
    of = f"of {each} GPUs" if each > 1 else "of one GPU"
    hold = "holds" if answer["replicas"] == 1 else "hold"
    reason = BECAUSE.get(answer["because"], str(answer["because"])).format_map(serving)
    return (
        f"{replicas} {of} {hold} the targets up to {one_number(answer['goodput_rps'])} requests per"
        f" second; what binds is {NAMES[answer['binds']]}: {reason}."
    )


def _next_gpu(result: Row, inputs: Inputs) -> Iterator[str]:
    """The cheapest on another GPU."""
    answer = result["answer"]
    others = [row for row in ordered(result) if row["fleet"] and row["gpu"] != answer["gpu"]]
    if not others:
        return
    best, fleet = others[0], others[0]["fleet"]
    gpu = gpu_names(inputs.gpus).get(best["gpu"], best["gpu"])
    more = fleet["usd_per_hour"] / answer["usd_per_hour"] - 1
    price = f"{one_share(more)} more" if more >= 0.0005 else "the same"
    yield (
        f"The cheapest with another GPU: {_times(fleet['gpus'], gpu)} at"
        f" {usd(fleet['usd_per_hour'])} an hour, {price}."
    )


def _times(count: int, gpu: object) -> str:
    return f"{count}\N{NO-BREAK SPACE}\N{MULTIPLICATION SIGN} {gpu}"


def _how_sure(result: Row) -> Iterator[str]:
    """What an error of the model would change."""
    answer = result["answer"]
    edge = edge_text(answer).strip() if answer["meets_targets"] else ""
    if edge:
        yield edge
    changes = [row for row in result["sensitivity"] if row["input"] == "step time"]
    for row in changes:
        slower = row["change"].startswith("+")
        if not slower:
            continue
        much = row["change"].lstrip("+").replace("%", "\N{NO-BREAK SPACE}%")
        if row["gpus"] is None:
            yield f"If steps took {much} longer than predicted, a target would be missed."
        elif row["gpus"] == answer["gpus"]:
            yield f"The number of GPUs holds even if every step takes {much} longer than predicted."
        else:
            yield (
                f"If every step took {much} longer than predicted, it would take {row['gpus']} GPUs"
                f" at {usd(row['usd_per_hour'])} an hour."
            )


def _cards(result: Row) -> tuple[Card, ...]:
    answer, plan = result["answer"], result["plan"]
    chosen = _chosen(result)
    at, price = chosen["fleet"]["operating_point"], answer["usd_per_hour"]
    tail = f"p{plan['targets']['percentile']:g}"
    rent = f"{usd(chosen['price']['usd_per_hour'])} a GPU, read {chosen['price']['date']}"
    replicas = f"{answer['replicas']} \N{MULTIPLICATION SIGN} {answer['configuration']}"
    return (
        Card(label="GPUs", value=f"{answer['gpus']:,}", note=replicas),
        Card(label="Per hour", value=usd(price), note=rent),
        Card(label="Per month", value=usd(per_month(price)), note=f"{HOURS_PER_MONTH} hours"),
        Card(
            label="Per million tokens",
            value=usd(answer["usd_per_million_output_tokens"]),
            note=f"of output; {usd(answer['usd_per_million_total_tokens'])} in and out",
        ),
        *(
            Card(
                label=f"{name.upper()} {tail}",
                value=one_number(at[f"{name}_ms"]["target"]),
                unit="ms",
                note=f"target {plan['targets'][f'{name}_ms']:,.0f}\N{NO-BREAK SPACE}ms",
            )
            for name in ("ttft", "tpot")
        ),
    )


def _cards_of_misses(answer: Row) -> tuple[Card, ...]:
    return tuple(
        Card(
            label=f"{miss['target'].upper()}, {answer['configuration']}",
            value=one_number(miss["found_ms"]),
            unit="ms",
            note=f"{one_share(miss['over'])} over {miss['limit_ms']:,.0f}\N{NO-BREAK SPACE}ms",
        )
        for miss in answer["missed"]
    )


def _chosen(result: Row) -> Row:
    name = result["answer"]["configuration"]
    found: Row = next(row for row in result["configurations"] if row["configuration"] == name)
    return found


def _evidence(result: Row) -> Iterator[Section]:
    rows, targets = ordered(result), result["plan"]["targets"]
    met = [row for row in rows if row["fleet"]]
    rest = [row for row in rows if not row["fleet"]]
    runs = [row for row in rows if row["fits"]]
    choice: list[Table | Figure] = []
    if met:
        chosen = result["answer"]["configuration"]
        choice.append(choice_table(met, chosen, targets["percentile"]))
    choice += [others_table(rest)] if rest else []
    yield Section(title="Choice", blocks=tuple(choice))
    if runs:
        blocks: list[Table | Figure] = [curves(runs, targets)]
        blocks += [replica_table(met)] if met else []
        yield Section(title="Latency and load", blocks=(*blocks, memory_table(rows)))
    if result["sensitivity"]:
        yield Section(title="What would change the answer", blocks=_changes(result))
    yield Section(title="Prices", blocks=(price_table(rows),))
    yield Section(title="Requests", blocks=(traffic_table(result["traffic"]),))


def _changes(result: Row) -> tuple[Table | Figure, ...]:
    """The tornado and its table, of the configuration that the answer names."""
    plan, chosen = result["plan"], _chosen(result)
    table = change_table(result["sensitivity"])
    if not chosen["goodput_rps"]:
        return (table,)
    rate = plan["traffic"]["rate_per_s"] * (1 + plan["headroom"])
    replicas = rate / chosen["goodput_rps"]
    base = replicas * chosen["tensor_parallel"] * chosen["price"]["usd_per_hour"]
    figure = tornado(result["sensitivity"], base)
    return (figure, table) if figure else (table,)
