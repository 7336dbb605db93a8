"""The tables over time, from the spans of traced runs: phases by SM, and occupancy."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from gpusim.errors import SpecError
from gpusim.launch_result import LaunchResult, Span
from gpusim.result import Result
from gpusim.study.predict import Case
from gpusim.study.run_tables import Rows, run_columns
from gpusim.units import ceil_div

#: Phases of a work item, as `Span.phases` names them.
PHASES = ("prologue", "steps", "epilogue", "wait")
#: A run's time is cut into so many parts, fewer where many runs stand in one table.
MOST_BINS, LEAST_BINS = 240, 40
#: Rows that the timeline of all runs together keeps near.
TIMELINE_ROWS = 80_000

Floats = NDArray[np.float64]


def timeline(cases: Sequence[Case]) -> Rows:
    """A row per run, launch, SM and part of the time: share of the SM's slots in each phase.

    Columns: `launch` (its index), `kernel`, `sm`, `start_us` and `end_us` of the part, and per
    phase the share of the slots' time, slots being what the launch's occupancy allows on an SM.
    What the phases leave of 1, slots stand empty. Neighbouring parts that are alike are one row.

    Raises:
        SpecError: for a run without spans.
    """
    sms = sum(case.gpu.sm.count for case in cases)
    bins = min(MOST_BINS, max(LEAST_BINS, TIMELINE_ROWS // max(1, sms)))
    rows: Rows = []
    for run, case in enumerate(cases):
        names, count = run_columns(run, case.result), case.gpu.sm.count
        for index, launch, spans, edges in _launches(case.result, bins):
            covered = np.stack([_by_sm(spans, n, count, edges) for n in range(len(PHASES))])
            shares = covered / (np.diff(edges) * launch.ctas_per_sm)
            shares = np.round(np.clip(shares, 0.0, 1.0), 6)
            base = names | {"launch": index, "kernel": launch.name}
            for sm in range(count):
                rows += [base | {"sm": sm} | cell for cell in _cells(shares[:, sm], edges)]
    return rows


def occupancy_over_time(cases: Sequence[Case], *, bins: int = MOST_BINS) -> Rows:
    """A row per run, launch and part of the time: what of the GPU is occupied.

    Columns: `ctas` resident (mean), `warps_fraction` of all warp slots of the GPU, and
    `theoretical_fraction`, the one that the launch's occupancy allows.

    Raises:
        SpecError: for a run without spans.
    """
    rows: Rows = []
    for run, case in enumerate(cases):
        names, gpu = run_columns(run, case.result), case.gpu
        for index, launch, spans, edges in _launches(case.result, bins):
            lengths = np.diff(edges)
            ctas = _covered(*_ends(spans), np.zeros(len(spans), np.int64), 1, edges)[0] / lengths
            warps = ceil_div(launch.threads, 32) / (gpu.sm.count * gpu.max_warps)
            base = names | {"launch": index, "kernel": launch.name}
            rows += [
                base
                | {
                    "start_us": start,
                    "end_us": end,
                    "ctas": count,
                    "warps_fraction": count * warps,
                    "theoretical_fraction": launch.occupancy_fraction,
                }
                for (start, end), count in zip(_parts(edges), ctas.tolist(), strict=True)
            ]
    return rows


def _launches(result: Result, bins: int) -> Iterator[tuple[int, LaunchResult, list[Span], Floats]]:
    """Launches with their spans, and the edges of the parts that their time is cut into."""
    if not result.spans:
        run = "a traced run of attention alone" if result.step else "a traced run"
        raise SpecError(f"{result.label} on {result.gpu}: expected {run}, found no spans")
    by_launch: dict[int, list[Span]] = {}
    for span in result.spans:
        by_launch.setdefault(span.launch, []).append(span)
    start = 0.0
    for index, launch in enumerate(result.launches):
        start += launch.gap_us
        end = start + launch.time_us
        parts = max(1, round(bins * launch.time_us / result.time_us))
        if launch.time_us > 0:
            yield index, launch, by_launch.get(index, []), np.linspace(start, end, parts + 1)
        start = end


def _cells(shares: Floats, edges: Floats) -> Iterator[dict[str, float]]:
    """Shares of one SM by part, alike neighbours in one."""
    new = np.flatnonzero(np.r_[True, (np.diff(shares, axis=1) != 0).any(axis=0)])
    times = np.round(edges, 4)
    starts, ends = times[new].tolist(), times[[*new[1:], -1]].tolist()
    for part, start, end in zip(new.tolist(), starts, ends, strict=True):
        values = dict(zip(PHASES, shares[:, part].tolist(), strict=True))
        yield {"start_us": start, "end_us": end} | values


def _parts(edges: Floats) -> list[tuple[float, float]]:
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))


def _ends(spans: list[Span]) -> tuple[Floats, Floats]:
    return np.array([s.start_us for s in spans]), np.array([s.end_us for s in spans])


def _by_sm(spans: list[Span], phase: int, sms: int, edges: Floats) -> Floats:
    """Time in a phase, by SM and part."""
    ends = np.array([s.phases[phase][1:] for s in spans]).reshape(-1, 2)
    return _covered(ends[:, 0], ends[:, 1], np.array([s.sm for s in spans], np.int64), sms, edges)


def _covered(
    starts: Floats, ends: Floats, group: NDArray[np.int64], groups: int, edges: Floats
) -> Floats:
    """How much of each part the intervals of each group cover, summed: (groups, parts).

    Up to a moment e, intervals cover Σ max(0, e - start) - Σ max(0, e - end).
    """

    def until(moments: Floats) -> Floats:
        """Σ max(0, e - moment) per group, at every edge e."""
        place = np.searchsorted(edges, moments, side="left")  # the first edge not before it
        cells = group * (len(edges) + 1) + place
        size = groups * (len(edges) + 1)
        shape = (groups, len(edges) + 1)
        count = np.bincount(cells, minlength=size).reshape(shape).cumsum(axis=1)[:, :-1]
        total = np.bincount(cells, weights=moments, minlength=size).reshape(shape)
        reached: Floats = count * edges - total.cumsum(axis=1)[:, :-1]
        return reached

    covered: Floats = np.diff(until(starts) - until(ends), axis=1)
    return covered
