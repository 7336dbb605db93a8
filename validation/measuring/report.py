"""What the terminal shows: what would be measured, how far it is, what was."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from rich.progress import ProgressColumn, Task
from rich.text import Text

from gpusim.report.table import render, table
from gpusim.units import duration
from validation.measuring.cases import L2, Case, Cases
from validation.measuring.estimate import START_S, estimated_s


class Rate(ProgressColumn):
    """Rows a minute."""

    def render(self, task: Task) -> Text:
        """Empty until something is known."""
        return Text(f"{60 * task.speed:.0f} rows/min" if task.speed else "")


def plan_text(found: Cases, kernels: Sequence[str], l2: L2) -> str:
    """A line a kernel and phase with its predicted times, what is left out, how long all takes."""
    rows = table("kernel|phase|>rows|>shortest|>median|>longest|>compiling and measuring")
    groups: dict[tuple[str, str], list[Case]] = {}
    for case in sorted(found.cases, key=lambda c: (kernels.index(c.kernel), c.phase)):
        groups.setdefault((case.kernel, case.phase), []).append(case)
    for (kernel, phase), cases in groups.items():
        times = np.array([case.predicted_us for case in cases])
        shown = (duration(float(us)) for us in (times.min(), np.median(times), times.max()))
        rows.add_row(kernel, phase, str(len(cases)), *shown, minutes(estimated_s(cases, l2)))
    text = render(rows) if groups else ""
    total = minutes(START_S + estimated_s(found.cases, l2) if found.cases else 0)
    text += f"{len(found.cases)} rows, L2 {l2}, in about {total}; times of a call are predicted\n"
    return text + _left_out(found.left_out)


def summary_text(
    measured: Counter[str],
    left_out: Counter[tuple[str, str]],
    failures: Mapping[str, str],
    stopped: str,
) -> str:
    """Rows by kernel, what was left out and why, what failed."""
    text = "".join(f"{kernel}: {count} rows measured\n" for kernel, count in measured.items())
    text = text or "no row measured\n"
    text += _left_out(left_out)
    text += "".join(f"failed: {kernel}: {why}\n" for kernel, why in failures.items())
    return text + (f"stopped: {stopped}\n" if stopped else "")


def minutes(seconds: float) -> str:
    """A time to plan by.

    >>> minutes(8.2), minutes(200)
    ('8 s', '3.3 min')
    """
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def _left_out(counts: Counter[tuple[str, str]]) -> str:
    return "".join(
        f"left out: {count} of {kernel}: {reason}\n"
        for (kernel, reason), count in sorted(counts.items())
    )
