"""A profile of what was measured, on top of the one that it replaces numbers of."""

from collections.abc import Mapping, Sequence

from gpusim.spec.gpu import Gpu
from gpusim.spec.profile_text import profile_text as text_of_profile
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
    leaves = {
        reading.name: {
            "value": float(f"{reading.value:.{DIGITS}g}"),
            "kind": "measured",
            "source": _source(device, benchmark, reading.how),
        }
        for benchmark, reading in replaced(gpu, found)
    }
    return text_of_profile(
        base,
        name=f"{gpu.name}_measured",
        description=f"{gpu.description}, as measured by validation/microbench",
        leaves=leaves,
    )


def _source(device: Device, benchmark: str, how: str) -> str:
    """Where a number comes from, as profiles say it."""
    return (
        f"validation/microbench {benchmark}, {device.name}, driver {device.driver}, {device.day}, "
        f"torch {device.torch}, triton {device.triton}: {how}"
    )
