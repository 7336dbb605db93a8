"""The page of `gpusim compare`."""

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
    label,
    pace,
    sentence,
    terms_of,
    title_of,
)
from gpusim.report.page_table import Column, Table, one_time, time_of, times, words
from gpusim.report.page_tables import left_out, summary_table, winners_table
from gpusim.report.simulate_page import ASSUMPTIONS, assumed_of, run_blocks

Row = Mapping[str, Any]


def compare_page(
    rows: Sequence[Row],
    inputs: Inputs,
    *,
    baseline: str | None = None,
    figures: Mapping[str, Sequence[Figure]] | None = None,
    skipped: Sequence[str] = (),
) -> Page:
    """The page of a comparison in its JSON form: rows by workload, GPU and rank.

    `figures` are drawn beside the numbers of a workload, by its name; `skipped` says what was left
    out and why.
    """
    workloads = by_workload(rows)
    groups = _by_gpu(rows)
    alone = len(workloads) == 1
    evidence = [_section(group, baseline, alone) for group in groups]
    evidence += [
        _details(name, group, (figures or {}).get(name, ()), alone)
        for name, group in workloads.items()
    ]
    many = len(groups) > MOST_CARDS
    if many:
        evidence.insert(0, Section(title="The best of each", blocks=(winners_table(groups),)))
    if skipped:
        evidence.append(Section(title="Left out", blocks=(left_out(skipped),)))
    return Page(
        kind=f"Schedules ranked, {rows[0]['engine']} engine",
        title=title_of(workloads),
        answer=_answer(groups, inputs),
        because=_because(groups),
        cards=() if many else tuple(_card(group, alone) for group in groups),
        evidence=tuple(evidence),
        inputs=inputs,
        assumptions=(*_ON_REASONS, *ASSUMPTIONS, *map(sentence, assumed_of(rows))),
        glossary=glossary(terms_of(rows)),
        results=list(rows),
    )


def _by_gpu(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows of each workload on each GPU."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["workload"], row["gpu"]), []).append(row)
    return list(groups.values())


_ON_REASONS = (
    "The best schedule is the fastest of those whose answer is exact attention in the workload's"
    " data types; reasons refer to it.",
    "A reason can make up more than all of a loss, where the schedule wins some of it back.",
)
#: More best schedules than these stand in a table, not on cards.
MOST_CARDS = 8


def _answer(groups: Sequence[Sequence[Row]], inputs: Inputs) -> str:
    best = [fastest(group) for group in groups]
    names = gpu_names(inputs.gpus)
    wins: dict[str, list[str]] = {}
    for row in best:
        wins.setdefault(label(row), []).append(row["gpu"])
    if len(best) == 1:
        gpu = names.get(best[0]["gpu"], best[0]["gpu"])
        return f"{label(best[0])} is the fastest on {gpu}: {one_time(best[0]['time_us'])}."
    if len(wins) == 1:
        return f"{label(best[0])} is the fastest in all {len(best)} cases."
    if len({row["workload"] for row in best}) == 1:
        parts = [f"{name} on {' and '.join(gpus)}" for name, gpus in wins.items()]
        return f"The fastest: {', '.join(parts)}."
    first = max(wins, key=lambda name: len(wins[name]))
    return f"No schedule wins everywhere; {first} does in {len(wins[first])} of {len(best)} cases."


def _because(groups: Sequence[Sequence[Row]]) -> tuple[str, ...]:
    sentences = []
    if len(groups) == 1:
        best = fastest(groups[0])
        sentences.append(sentence(pace(best)))
        slowest = max(groups[0], key=lambda row: float(row["time_us"]))
        if slowest is not best:
            ratio = slowest["time_us"] / best["time_us"]
            sentences.append(f"The slowest, {label(slowest)}, takes {ratio:.1f} times as long.")
    others = {
        label(row)
        for group in groups
        for row in group
        if row["approximation"] and row["time_us"] < fastest(group)["time_us"]
    }
    if others:
        named = ", ".join(sorted(others))
        sentences.append(f"Faster still, but with another answer than exact attention: {named}.")
    return tuple(sentences)


def _card(rows: Sequence[Row], alone: bool) -> Card:
    """The best on a GPU, and the next."""
    best = fastest(rows)
    time, unit = time_of(best["time_us"])
    rest = [row for row in rows if not row["approximation"] and row is not best]
    ratio = f"; the next takes {rest[0]['time_us'] / best['time_us']:.2f} times as long"
    where = best["gpu"] if alone else f"{best['workload']}, {best['gpu']}"
    return Card(label=where, value=time, unit=unit, note=label(best) + (ratio if rest else ""))


def _section(rows: Sequence[Row], baseline: str | None, alone: bool) -> Section:
    title = rows[0]["gpu"] if alone else f"{rows[0]['workload']} on {rows[0]['gpu']}"
    return Section(title=title, blocks=(_ranking(rows, baseline),))


def _ranking(rows: Sequence[Row], baseline: str | None) -> Table:
    best = fastest(rows)
    reasons = (row["why"] or ("the best" if row is best else "") for row in rows)
    return Table(
        caption="From the fastest to the slowest; the best exact one is marked",
        columns=(
            words("schedule", map(label, rows)),
            times("time", (row["time_us"] for row in rows)),
            Column(
                f"/ {baseline or 'best'}", tuple(f"{row['ratio']:.2f}" for row in rows), right=True
            ),
            words("bound", (row["bound"] for row in rows)),
            words("what it loses most by", reasons, wraps=True),
        ),
        best=frozenset({list(rows).index(best)}),
    )


def _details(workload: str, rows: Sequence[Row], figures: Sequence[Figure], alone: bool) -> Section:
    """The same runs in numbers."""
    return Section(
        title="Where the time goes" if alone else f"{workload}: where the time goes",
        blocks=(summary_table(rows, "Rates and occupancy"), *run_blocks(rows, figures)),
    )
