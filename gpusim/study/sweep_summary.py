"""What the rows of a whole sweep say: which choice is best on which problem, and how time goes.

A choice is a value of the axes that one may choose (GPU, schedule, their numbers and options), a
problem one of all the others. Rows whose answer is not exact attention are in no comparison of
choices, unless there are no others.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpusim.study.sweep_axes import SweptAxis, swept_axes
from gpusim.study.sweep_plan import Plan
from gpusim.study.sweep_rows import read_rows

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: Problems and points that are listed one by one, spread evenly over all.
LISTED = 20
#: Values of an axis, and choices, that are listed; and choices that have a line in figures.
VALUES, CHOICES, LINES = 40, 40, 6
#: Times this close, in logarithms, are the same: both are the best.
SAME = 1e-9
#: Reasons of failed rows that are counted apart.
REASONS = 20


def sweep_summary(plan: Plan, output: Path) -> dict[str, Any]:
    """The summary of a sweep's file in its JSON form; times are means of logarithms, in us.

    Raises:
        SpecError: if the file cannot be read.
    """
    rows = read_rows(output)
    axes = swept_axes(plan)
    ran = rows[rows["error"] == ""]
    exact = ran[ran["approximation"] == ""]
    compared = exact if len(exact) else ran
    index, log_us = _columns(compared)
    choice = _number([axis for axis in axes if axis.choice], index)
    problem = _number([axis for axis in axes if not axis.choice], index)
    wins = _wins(problem, log_us)
    choices = _choices(axes, index, choice, problem, log_us)
    return {
        "combinations": plan.size,
        "rows": len(rows),
        "ran": len(ran),
        "compared": len(compared),
        "failed": _failed(rows),
        "problems": len(wins),
        "fastest_us": float(compared["time_us"].min()) if len(compared) else None,
        "slowest_us": float(compared["time_us"].max()) if len(compared) else None,
        "choices": choices[:CHOICES],
        "choices_in_all": len(choices),
        "best": _listed(compared, axes, wins),
        "axes": [_axis(axis, rows, ran) for axis in axes],
        "curves": _curves(axes, choices[:LINES], index, choice, log_us),
    }


def _columns(rows: Any) -> tuple[Ints, Floats]:
    return rows["index"].to_numpy(np.int64), np.log(rows["time_us"].to_numpy(np.float64))


def _number(axes: Sequence[SweptAxis], index: Ints) -> Ints:
    """The combination of these axes alone, by the number of a combination of all."""
    found = np.zeros_like(index)
    for axis in axes:
        found += axis.digits(index) * axis.stride
    return found


def _wins(problem: Ints, log_us: Floats) -> Ints:
    """Places of the fastest row of each problem, in the order of the problems."""
    order = np.lexsort((log_us, problem))  # stable: of equals the first
    first = np.r_[True, problem[order][1:] != problem[order][:-1]][: len(order)]
    found: Ints = order[first]
    return found


def _choices(
    axes: Sequence[SweptAxis], index: Ints, choice: Ints, problem: Ints, log_us: Floats
) -> list[dict[str, Any]]:
    """Every choice, the best on most problems first: problems that it runs on and is the best on,
    alone or with others, and its time over the best's.
    """
    _, where = np.unique(problem, return_inverse=True)
    wins = _wins(problem, log_us)
    best = log_us[wins][where] if len(wins) else log_us
    known, first, kind = np.unique(choice, return_index=True, return_inverse=True)
    problems = np.bincount(kind, minlength=len(known))
    won = np.bincount(kind[log_us <= best + SAME], minlength=len(known))
    behind = np.exp(np.bincount(kind, log_us - best, minlength=len(known)) / problems)
    found = [
        {
            "choice": _named([axis for axis in axes if axis.choice], int(index[first[i]])),
            "number": int(known[i]),
            "problems": int(problems[i]),
            "best_on": int(won[i]),
            "over_best": float(behind[i]),
        }
        for i in range(len(known))
    ]
    return sorted(found, key=lambda row: (-row["best_on"], row["over_best"], row["number"]))


def _named(axes: Sequence[SweptAxis], index: int) -> dict[str, str]:
    """Values by axis."""
    return {axis.name: axis.values[index // axis.stride % len(axis.values)] for axis in axes}


def _listed(rows: Any, axes: Sequence[SweptAxis], places: Ints) -> list[dict[str, Any]]:
    """Some of the rows at these places, spread evenly, with their values by axis."""
    if len(places) > LISTED:
        places = places[np.linspace(0, len(places) - 1, LISTED).round().astype(np.int64)]
    return [
        {
            "index": int(row["index"]),
            "values": _named(axes, int(row["index"])),
            **{name: row[name] for name in ("bound", "approximation")},
            **{name: float(row[name]) for name in ("time_us", "tflops", "hbm_gb_per_s")},
        }
        for row in rows.iloc[places].to_dict("records")
    ]


def _failed(rows: Any) -> dict[str, Any]:
    """How many rows have no result, and why."""
    counts = rows["error"][rows["error"] != ""].value_counts(sort=False)
    reasons = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    listed = [{"rows": int(n), "reason": str(why)} for why, n in reasons[:REASONS]]
    others = sum(int(n) for _, n in reasons[REASONS:])
    if others:
        listed.append({"rows": others, "reason": f"{len(reasons) - REASONS} other reasons"})
    return {"rows": int(counts.sum()), "reasons": listed}


def _axis(axis: SweptAxis, rows: Any, ran: Any) -> dict[str, Any]:
    """How time goes along an axis: of all points that ran at a value, and of those whose other
    inputs ran at every value (that ran at all), so that their means differ by nothing but the axis.
    """
    size = len(axis.values)
    index, log_us = _columns(ran)
    digit = axis.digits(index)
    count = np.bincount(digit, minlength=size)
    there = np.bincount(axis.digits(rows["index"].to_numpy(np.int64)), minlength=size)
    matched, alike = _matched(axis, index)
    least, most = np.full(size, np.inf), np.full(size, -np.inf)
    np.minimum.at(least, digit, log_us)
    np.maximum.at(most, digit, log_us)
    means = _means(digit[matched], log_us[matched], size)
    shown = np.arange(size)
    if size > VALUES:
        shown = np.linspace(0, size - 1, VALUES).round().astype(np.int64)
    return {
        "axis": axis.name,
        "values_in_all": size,
        "alike": alike,
        "values": [
            {
                "value": axis.values[i],
                "ran": int(count[i]),
                "failed": int(there[i] - count[i]),
                "fastest_us": float(np.exp(least[i])) if count[i] else None,
                "slowest_us": float(np.exp(most[i])) if count[i] else None,
                "mean_us": float(np.exp(means[i])) if alike and count[i] else None,
            }
            for i in shown
        ],
    }


def _matched(axis: SweptAxis, index: Ints) -> tuple[NDArray[np.bool_], int]:
    """Rows whose other inputs ran at every value of an axis that ran at all, and how many such
    inputs there are.
    """
    digit = axis.digits(index)
    others = index - digit * axis.stride
    _, group, count = np.unique(others, return_inverse=True, return_counts=True)
    whole = count == len(np.unique(digit))
    return whole[group], int(whole.sum())


def _means(digit: Ints, log_us: Floats, size: int) -> Floats:
    count = np.bincount(digit, minlength=size)
    sums = np.bincount(digit, log_us, minlength=size)
    means: Floats = np.asarray(sums / np.maximum(count, 1), dtype=np.float64)
    return means


def _curves(
    axes: Sequence[SweptAxis],
    choices: Sequence[dict[str, Any]],
    index: Ints,
    choice: Ints,
    log_us: Floats,
) -> list[dict[str, Any]]:
    """Mean time along each axis of numbers, a line for each of the best choices."""
    found = []
    for axis in axes:
        if axis.numbers is None or len(axis.numbers) < 3:
            continue
        # Along an axis that is a choice itself, a line is a choice of the others.
        own = axis.stride * axis.digits(index) if axis.choice else np.zeros_like(index)
        lines = choice - own
        matched, _ = _matched(axis, index)
        for row in _lines(axis, choices):
            these = matched & (lines == row["number"])
            if not these.any():
                continue
            digit = axis.digits(index[these])
            means = _means(digit, log_us[these], len(axis.numbers))
            points = sorted((axis.numbers[i], float(np.exp(means[i]))) for i in np.unique(digit))
            found += [
                {"axis": axis.name, "choice": row["choice"], "x": float(x), "y": y}
                for x, y in points
            ]
    return found


def _lines(axis: SweptAxis, choices: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The choices without an axis, each once."""
    lines: dict[int, dict[str, Any]] = {}
    for row in choices:
        number, named = row["number"], dict(row["choice"])
        if named.pop(axis.name, None) is not None:
            number -= axis.stride * (number // axis.stride % len(axis.values))
        lines.setdefault(number, {"number": number, "choice": named})
    return list(lines.values())
