"""The page of `gpusim sweep`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gpusim.report.glossary import glossary
from gpusim.report.page import Card, Page, Section
from gpusim.report.page_figure import Figure
from gpusim.report.page_inputs import Inputs
from gpusim.report.page_table import one_number, one_share, one_time, time_of
from gpusim.report.sweep_figures import axis_figure
from gpusim.report.sweep_rows import axis_table, best_table, choice_name, choice_table, failed_table

Row = Mapping[str, Any]

_ASSUMPTIONS = (
    "A choice is a GPU, a schedule, or a number or option of them; all else that varies makes the"
    " problem. The best choice of a problem is the fastest whose answer is exact.",
    "Means of times are geometric: half the time on one problem makes up for twice the time on"
    " another.",
)


def sweep_page(summary: Row, inputs: Inputs, *, title: str) -> Page:
    """The page of a sweep.

    Args:
        summary: of all its rows, in JSON form.
        inputs: what it was run with.
        title: its name.
    """
    bounds = [row["bound"] for row in summary["best"]]
    return Page(
        kind="Sweep",
        title=title,
        answer=_answer(summary),
        because=tuple(_because(summary)),
        cards=tuple(_cards(summary)),
        evidence=tuple(_evidence(summary)),
        inputs=inputs,
        assumptions=_ASSUMPTIONS,
        glossary=glossary([*bounds, "bound", "useful", "load", "cold, warm"]),
        results=summary,
    )


def _answer(summary: Row) -> str:
    if not summary["rows"]:
        return "The conditions leave no point to run."
    if not summary["ran"]:
        return f"None of the {summary['rows']:,} points has a result."
    first, *others = summary["choices"]
    name, problems = choice_name(first["choice"]), summary["problems"]
    if not others:
        return _range(summary)
    if problems == 1:
        return f"{name} is the fastest: {one_time(summary['fastest_us'])}."
    on = "all" if first["best_on"] == problems else f"{first['best_on']:,} of"
    return f"{name} is the fastest on {on} {problems:,} problems."


def _range(summary: Row) -> str:
    """Times where there is nothing to choose."""
    if summary["compared"] == 1:
        return f"The only point takes {one_time(summary['fastest_us'])}."
    return (
        f"The {summary['compared']:,} points take from {one_time(summary['fastest_us'])} to"
        f" {one_time(summary['slowest_us'])}."
    )


def _because(summary: Row) -> Iterator[str]:
    if summary["ran"] and len(summary["choices"]) > 1:
        yield from _compared(summary)
        yield _range(summary)
    inexact = summary["ran"] - summary["compared"]
    if inexact:
        yield (
            f"{_points(inexact)} with an answer that is not exact attention"
            f" {'stands' if inexact == 1 else 'stand'} in no comparison of choices."
        )
    if summary["failed"]["rows"]:
        share = one_share(summary["failed"]["rows"] / summary["rows"])
        yield f"{_points(summary['failed']['rows'])} ({share}) could not be predicted."


def _compared(summary: Row) -> Iterator[str]:
    """The best choice where it is not the best, and the next one."""
    first, second, *_ = summary["choices"]
    name = choice_name(second["choice"])
    if summary["problems"] == 1:
        yield f"The next is {name}, which takes {_times(second['over_best'])} as long."
        return
    if first["best_on"] < summary["problems"]:
        yield (
            f"In the mean of the {first['problems']:,} problems that it runs on, it takes"
            f" {_times(first['over_best'])} as long as the best."
        )
    yield (
        f"The next is {name}: the fastest on {second['best_on'] or 'none'} of its"
        f" {second['problems']:,} problems, and in the mean {_times(second['over_best'])} as long"
        " as the best."
    )


def _points(count: int) -> str:
    return "One point" if count == 1 else f"{count:,} points"


def _times(ratio: float) -> str:
    return f"{ratio:.2f}\N{NO-BREAK SPACE}times"


def _cards(summary: Row) -> Iterator[Card]:
    left = summary["combinations"] - summary["rows"]
    note = f"{left:,} combinations left out by conditions" if left else "every combination"
    yield Card(label="Points", value=f"{summary['rows']:,}", note=note)
    failed = summary["failed"]["rows"]
    yield Card(
        label="Without a result",
        value=f"{failed:,}",
        note=f"for {_reasons(summary['failed']['reasons'])}" if failed else "all were predicted",
    )
    if not summary["ran"]:
        return
    for label, key in (("Fastest", "fastest_us"), ("Slowest", "slowest_us")):
        value, unit = time_of(summary[key])
        yield Card(label=label, value=value, unit=unit)
    if summary["problems"] > 1 and len(summary["choices"]) > 1:
        yield Card(
            label="Problems",
            value=f"{summary['problems']:,}",
            note=f"{summary['choices_in_all']:,} choices compared on them",
        )


def _reasons(reasons: Sequence[Row]) -> str:
    return "one reason" if len(reasons) == 1 else f"{one_number(len(reasons))} reasons"


def _evidence(summary: Row) -> Iterator[Section]:
    if summary["ran"]:
        if len(summary["choices"]) > 1:
            yield Section(title="Choices", blocks=(choice_table(summary),))
        yield Section(title="Best points", blocks=(best_table(summary),))
    for number, axis in enumerate(summary["axes"] if summary["ran"] else (), start=1):
        curves = [row for row in summary["curves"] if row["axis"] == axis["axis"]]
        figures: list[Figure] = [axis_figure(number, axis["axis"], curves)] if curves else []
        yield Section(
            title=f"Time by {axis['axis']}",
            blocks=(*figures, axis_table(axis, folded=bool(figures))),
        )
    if summary["failed"]["rows"]:
        yield Section(title="Without a result", blocks=(failed_table(summary["failed"]),))
