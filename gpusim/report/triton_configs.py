"""A search space as Triton autotune configurations: a Python module, or JSON."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from gpusim.units import power_of_two

Row = Mapping[str, Any]
#: BLOCK_M, BLOCK_N, NUM_SPLITS, num_warps, num_stages.
Point = tuple[int | None, ...]

#: What a space belongs to.
NAMES = ("workload", "gpu", "schedule")
#: A kernel that starts further warps itself, as Gluon's `warp_specialize` does, is launched with
#: one warpgroup.
WARPGROUP_WARPS = 4

_MODULE = '''\
"""Triton autotune configurations that fit, made by `gpusim tune --export-triton`.

    @triton.autotune(list(filter(keep, configs)), key=["HEAD_DIM"])

`configs` has all of them, the best of each space by gpusim's closed form first; `keep` tells which
are worth a measurement: `functools.partial(keep, gpu="h100_sxm", within=0.05)`.
"""

import triton

#: (workload, GPU, schedule) -> a line for each configuration: BLOCK_M, BLOCK_N, NUM_SPLITS (None if
#: the schedule has none), num_warps, num_stages, and predicted us (None: fits, but the search had
#: no reason to look at it).
SPACES = {
%s}


def make(block_m, block_n, num_splits, num_warps, num_stages):
    """A configuration; kernels that do not split have no NUM_SPLITS."""
    sizes = {"BLOCK_M": block_m, "BLOCK_N": block_n}
    if num_splits is not None:
        sizes["NUM_SPLITS"] = num_splits
    return triton.Config(sizes, num_warps=num_warps, num_stages=num_stages)


def point(config):
    """The line of a configuration, without its time."""
    sizes = config.kwargs
    return (
        sizes["BLOCK_M"],
        sizes["BLOCK_N"],
        sizes.get("NUM_SPLITS"),
        config.num_warps,
        config.num_stages,
    )


configs = [
    make(*line) for line in dict.fromkeys(row[:-1] for rows in SPACES.values() for row in rows)
]


def keep(config, gpu=None, schedule=None, workload=None, within=0.1):
    """Whether a configuration is predicted within a share of the best of a space named, or any."""
    for (of_workload, of_gpu, of_schedule), rows in SPACES.items():
        if (workload or of_workload, gpu or of_gpu, schedule or of_schedule) != (
            of_workload,
            of_gpu,
            of_schedule,
        ):
            continue
        times = {row[:-1]: row[-1] for row in rows if row[-1] is not None}
        us = times.get(point(config))
        if us is not None and us <= (1 + within) * min(times.values()):
            return True
    return False
'''


def triton_module(fits: Iterable[Row]) -> str:
    """A module that imports nothing but Triton: `configs`, and `keep` to filter them."""
    spaces: dict[tuple[str, ...], dict[Point, float | None]] = {}
    for fit in filter(_for_triton, fits):
        names = tuple(fit[key] for key in NAMES)
        spaces.setdefault(names, {}).setdefault(_point(fit), fit["analytic_us"])
    lines = []
    for names, points in spaces.items():
        lines.append(f"    {names!r}: [\n")
        lines += [f"        {(*point, us)!r},\n" for point, us in points.items()]
        lines.append("    ],\n")
    return _MODULE % "".join(lines)


def triton_json(fits: Iterable[Row]) -> str:
    """A list of mappings: `kwargs`, `num_warps`, `num_stages` as `triton.Config` has them."""
    rows = []
    for fit in filter(_for_triton, fits):
        m, n, splits, warps, stages = _point(fit)
        sizes = {"BLOCK_M": m, "BLOCK_N": n}
        names = {key: fit[key] for key in NAMES}
        rows.append(
            names
            | {
                "kwargs": sizes if splits is None else sizes | {"NUM_SPLITS": splits},
                "num_warps": warps,
                "num_stages": stages,
                "predicted_us": fit["analytic_us"],
            }
        )
    return json.dumps(rows, indent=1, allow_nan=False) + "\n"


def _for_triton(fit: Row) -> bool:
    """Triton's tiles are powers of two."""
    sides = [fit["configuration"].get(name, 0) for name in ("block_m", "block_n")]
    return all(side and side == power_of_two(side) for side in sides)


def _point(fit: Row) -> Point:
    chosen = fit["configuration"]
    warps = chosen.get("num_warps", WARPGROUP_WARPS)
    if warps != power_of_two(warps):
        warps = WARPGROUP_WARPS
    splits = chosen.get("num_splits") if fit["splits"] else None
    return chosen["block_m"], chosen["block_n"], splits, warps, chosen.get("stages", 1)
