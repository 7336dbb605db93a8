"""The tables behind figures that need no spans: where the time goes, and traffic by level.

Every table of a figure is plain rows: `run` counts the predictions drawn together, `workload`,
`gpu` and `schedule` (with options) name one, `approximation` says what its answer lacks.
"""

from collections.abc import Sequence
from typing import Any

from gpusim.result import Result

Rows = list[dict[str, Any]]


def run_columns(run: int, result: Result) -> dict[str, Any]:
    """The columns that say which prediction a row is of."""
    return {
        "run": run,
        "workload": result.workload,
        "gpu": result.gpu,
        "schedule": result.label,
        "approximation": result.approximation,
    }


def breakdown(results: Sequence[Result]) -> Rows:
    """A row per run and cause: `us`, and `share` of the run's time; greatest first.

    The `us` of a run add up to its time.
    """
    return [
        run_columns(run, result) | {"cause": cause, "us": share * result.time_us, "share": share}
        for run, result in enumerate(results)
        for cause, share in result.breakdown.items()
    ]


def traffic_by_level(results: Sequence[Result]) -> Rows:
    """A row per run and level: `bytes` that all launches move.

    Levels are hbm_read, hbm_write, l2_to_sm, shared_memory and compulsory: Q, K, V and O once each.
    """
    rows: Rows = []
    for run, result in enumerate(results):
        traffic = result.as_dict()["traffic"]
        levels = {
            "hbm_read": traffic["hbm_read_bytes"],
            "hbm_write": traffic["hbm_write_bytes"],
            "l2_to_sm": traffic["l2_to_sm_bytes"],
            "shared_memory": traffic["smem_bytes"],
            "compulsory": traffic["compulsory_bytes"],
        }
        names = run_columns(run, result)
        rows += [names | {"level": level, "bytes": count} for level, count in levels.items()]
    return rows
