"""The page of `gpusim simulate`."""

from collections.abc import Mapping, Sequence
from typing import Any

from gpusim.report.glossary import glossary
from gpusim.report.page import Card, Page, Section
from gpusim.report.page_figure import Figure
from gpusim.report.page_inputs import Inputs
from gpusim.report.page_rows import (
    by_workload,
    fastest,
    gpu_names,
    is_model,
    label,
    pace,
    sentence,
    terms_of,
    title_of,
)
from gpusim.report.page_table import Table, one_number, one_time, time_of
from gpusim.report.page_tables import (
    breakdown_table,
    launches_table,
    left_out,
    summary_table,
    traffic_table,
    winners_table,
)

Row = Mapping[str, Any]

#: What every prediction takes for granted.
ASSUMPTIONS = (
    "A prediction is of the GPU alone: the host keeps up, as in the replay of a CUDA graph.",
    "The clock follows the load that the workload names, not the power that a kernel draws.",
    "Not modelled: address translation, locality of DRAM pages, contention between SMs of a pair,"
    " TMA multicast, and empty CTAs of ragged prompts.",
)


def simulate_page(
    rows: Sequence[Row],
    inputs: Inputs,
    *,
    figures: Mapping[str, Sequence[Figure]] | None = None,
    notes: Sequence[str] = (),
    skipped: Sequence[str] = (),
) -> Page:
    """The page of predictions in their JSON form, in which a workload's rows stand together.

    `figures` are drawn beside the tables of a workload, by its name. `notes` say what to know of
    some rows, `skipped` what was left out and why.
    """
    groups = by_workload(rows)
    alone = len(groups) == 1
    evidence = [
        section
        for name, group in groups.items()
        for section in _sections(group, (figures or {}).get(name, ()), alone=alone)
    ]
    if not alone:
        table = winners_table(list(groups.values()))
        evidence.insert(0, Section(title="All workloads", blocks=(table,)))
    if skipped:
        evidence.append(Section(title="Left out", blocks=(left_out(skipped),)))
    assumed = assumed_of(rows)
    said = [note for note in notes if not note.endswith(tuple(assumed))]
    first = next(iter(groups.values()))
    return Page(
        kind=f"Predicted runtime, {rows[0]['engine']} engine",
        title=title_of(groups),
        answer=_answer(first, inputs) if alone else _answers(list(groups.values())),
        because=(*(_because(first) if alone else ()), *map(sentence, said)),
        cards=_cards(first) if alone else (),
        evidence=tuple(evidence),
        inputs=inputs,
        assumptions=(*ASSUMPTIONS, *map(sentence, assumed)),
        glossary=glossary(terms_of(rows)),
        results=list(rows),
    )


def assumed_of(rows: Sequence[Row]) -> list[str]:
    """What steps of models take for granted beside ASSUMPTIONS."""
    return list(dict.fromkeys(text for row in rows for text in row.get("assumptions", ())))


def _answer(rows: Sequence[Row], inputs: Inputs) -> str:
    best = fastest(rows)
    gpu = gpu_names(inputs.gpus).get(best["gpu"], best["gpu"])
    if len(rows) == 1:
        return f"{label(best)} on {gpu} takes {one_time(best['time_us'])}."
    return f"{gpu} is the fastest, with {label(best)}: {one_time(best['time_us'])}."


def _answers(groups: Sequence[Sequence[Row]]) -> str:
    wins = [fastest(group)["gpu"] for group in groups]
    gpu = max(dict.fromkeys(wins), key=wins.count)
    return f"{gpu} is the fastest on {wins.count(gpu)} of {len(groups)} workloads."


def _because(rows: Sequence[Row]) -> tuple[str, ...]:
    best = fastest(rows)
    sentences = [sentence(pace(best))]
    others = [row for row in rows if row["time_us"] > best["time_us"] and row["gpu"] != best["gpu"]]
    if others:
        second = fastest(others)
        times_as_long = second["time_us"] / best["time_us"]
        sentences.append(
            f"The next best GPU, {second['gpu']} with {label(second)}, takes"
            f" {times_as_long:.2f} times as long."
        )
    return tuple(sentences)


def _cards(rows: Sequence[Row]) -> tuple[Card, ...]:
    best = fastest(rows)
    time, unit = time_of(best["time_us"])
    return (
        Card(label="Time", value=time, unit=unit, note=f"{best['gpu']}, {label(best)}"),
        Card(label="Bound", value=best["bound"], note="what sets the pace most of the time"),
        Card(
            label="Memory bandwidth",
            value=one_number(best["hbm_gb_per_s"]),
            unit="GB/s",
            note="over the whole call",
        ),
        Card(
            label="Useful work",
            value=one_number(best["tflops"]),
            unit="TFLOP/s",
            note="over the whole call",
        ),
        *(() if is_model(best) else (_ctas_per_sm(best["occupancy"]),)),
    )


def _ctas_per_sm(occupancy: Row) -> Card:
    note = f"limited by {occupancy['limiter']}"
    return Card(label="CTAs per SM", value=str(occupancy["ctas_per_sm"]), note=note)


def _sections(rows: Sequence[Row], figures: Sequence[Figure], *, alone: bool) -> list[Section]:
    """The evidence on one workload: a section for each of its parts if it is the only one."""
    summary = summary_table(rows, "The fastest exact one is marked")
    parts = run_blocks(rows, figures)
    if not alone:
        return [Section(title=rows[0]["workload"], blocks=(summary, *parts))]
    return [
        Section(title="Predictions", blocks=(summary,)),
        Section(title="Where the time goes", blocks=parts),
    ]


def run_blocks(rows: Sequence[Row], figures: Sequence[Figure]) -> tuple[Table | Figure, ...]:
    """What is behind the times of some runs: figures, then tables, those for few readers folded."""
    opened = [figure for figure in figures if not figure.folded]
    folded = [figure for figure in figures if figure.folded]
    return (*opened, traffic_table(rows), breakdown_table(rows), *folded, launches_table(rows))
