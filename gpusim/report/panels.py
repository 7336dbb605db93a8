"""What figures with a panel per GPU or run share: rows in groups, names as text, axes in a grid."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gpusim.errors import plain
from gpusim.units import ceil_div

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

Row = Mapping[str, Any]
Rows = Sequence[Row]
#: Characters of a name that a figure has room for.
MAX_NAME = 44
#: Characters of a panel's title across the whole width, and those that stand beside a GPU's name.
TITLE, BESIDE = 78, 14


def literal(name: object, length: int = MAX_NAME) -> str:
    r"""A name as matplotlib draws it letter by letter, on one line, cut off where it is long.

    Dollar signs begin no formula, and an underscore in front hides nothing from a legend.

    >>> literal("$a$"), literal("_b"), literal("abcdefgh", 6)
    ('\\$a\\$', ' _b', 'abc...')
    """
    text = plain(str(name))
    text = text if len(text) <= length else f"{text[: length - 3]}..."
    return f"{' ' if text.startswith('_') else ''}{text}".replace("$", r"\$")


def grouped(rows: Iterable[Row], *keys: str) -> dict[tuple[Hashable, ...], list[Row]]:
    """Rows by the values of some columns, in the order in which they come; one missing is ''."""
    groups: dict[tuple[Hashable, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row.get(key, "") for key in keys), []).append(row)
    return groups


def by_machine(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows by workload and GPU, under the GPU's name and, if there are several, the workload's."""
    groups = grouped(rows, "workload", "gpu")
    several = len({workload for workload, _ in groups}) > 1
    named: dict[str, list[Row]] = {}
    for (workload, gpu), group in groups.items():
        name = f"{literal(gpu)}: {literal(workload, 80)}" if several else literal(gpu)
        named.setdefault(name, []).extend(group)
    return named


def by_run(rows: Iterable[Row]) -> dict[Hashable, list[Row]]:
    """Rows by run, the `run` that a prediction has among all that are drawn."""
    return {key[0]: group for key, group in grouped(rows, "run").items()}


def run_name(row: Row, length: int = MAX_NAME) -> str:
    """The schedule of a row, with its options and what its answer lacks."""
    mark = f" ({row['approximation']})" if row.get("approximation") else ""
    return f"{literal(row['schedule'], length - len(mark))}{mark}"


def run_titles(rows: Rows, after: Callable[[Rows], str], columns: int) -> dict[Hashable, str]:
    """A title per run: its workload if there are several, schedule, GPU, and what `after` says.

    What is too wide for a panel in one of so many columns stands on two lines.
    """
    several = len({row.get("workload") for row in rows}) > 1
    titles = {}
    for run, group in by_run(rows).items():
        row = group[0]
        width = TITLE // columns
        machine = f"{literal(row['gpu'], min(MAX_NAME, width - BESIDE))}: {after(group)}"
        titles[run] = _joined(run_name(row, min(MAX_NAME, width)), machine, width)
        if several:
            workload = literal(row["workload"], width)
            titles[run] = f"{workload}\n{titles[run]}"
    return titles


def _joined(first: str, second: str, width: int) -> str:
    return f"{first}, {second}" if len(first) + len(second) + 2 <= width else f"{first},\n{second}"


def grid(figure: "FigureBase", count: int, columns: int) -> "list[Axes]":
    """So many axes, row by row in at most so many columns."""
    columns = min(columns, count)
    rows = ceil_div(count, columns)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for spare in axes[count:]:
        spare.remove()
    return axes[:count]


def names_on_y(axes: "Axes", names: Sequence[str]) -> None:
    """Names beside horizontal bars, the first on top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def apart(values: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places near the values, in their order, at least `gap` from one another within the ends.

    What is crowded spreads around its middle.

    >>> apart([1.0, 1.1, 5.0], 1.0, 0.0, 10.0)
    [0.55, 1.55, 5.0]
    >>> apart([9.5, 9.7], 1.0, 0.0, 10.0)
    [9.0, 10.0]
    """
    order = sorted(range(len(values)), key=lambda i: values[i])
    gap = min(gap, (high - low) / max(1, len(values) - 1))
    clusters: list[list[float]] = []  # of values, each less the gaps before it
    for rank, i in enumerate(order):
        clusters.append([values[i] - rank * gap])
        while len(clusters) > 1 and _mean(clusters[-2]) > _mean(clusters[-1]):
            last = clusters.pop()
            clusters[-1].extend(last)
    top = high - (len(values) - 1) * gap
    starts = [min(max(_mean(c), low), top) for c in clusters for _ in c]
    places = [0.0] * len(values)
    for rank, i in enumerate(order):
        places[i] = starts[rank] + rank * gap
    return places


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
