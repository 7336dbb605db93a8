"""A profile of what was measured, on top of the one that it replaces numbers of."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from gpusim.spec.gpu import Gpu
from gpusim.spec.load import shipped
from validation.device import Device
from validation.microbench.benchmark import Reading

#: Digits that a written number keeps.
DIGITS = 4


def replaced(gpu: Gpu, found: Mapping[str, Sequence[Reading]]) -> list[tuple[str, Reading]]:
    """Readings that stand for a field of the profile, with their benchmark's name."""
    known = gpu.provenance
    return [(name, r) for name, readings in found.items() for r in readings if r.name in known]


def profile_text(
    gpu: Gpu, base: str, found: Mapping[str, Sequence[Reading]], device: Device
) -> str:
    """YAML that extends `base` (a shipped name or a file) by what was measured."""
    document: dict[str, Any] = {
        "extends": base if base in shipped("hardware") else str(Path(base).resolve()),
        "name": f"{gpu.name}_measured",
        "description": f"{gpu.description}, as measured by validation/microbench",
    }
    for benchmark, reading in replaced(gpu, found):
        *path, key = reading.name.split(".")
        node = document
        for part in path:
            node = node.setdefault(part, {})
        node[key] = {
            "value": float(f"{reading.value:.{DIGITS}g}"),
            "kind": "measured",
            "source": _source(device, benchmark, reading.how),
        }
    return yaml.safe_dump(document, sort_keys=False, width=98, allow_unicode=True)


def _source(device: Device, benchmark: str, how: str) -> str:
    """Where a number comes from, as profiles say it."""
    return (
        f"validation/microbench {benchmark}, {device.name}, driver {device.driver}, {device.day}, "
        f"torch {device.torch}, triton {device.triton}: {how}"
    )
