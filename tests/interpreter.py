"""Tests in Triton's interpreter: small problems, and its counts against the model's launches."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest

import gpusim
from gpusim.schedules.implementations import IMPLEMENTATIONS
from gpusim.schedules.launch import Launch, Operand

NEEDS = "needs the extra 'triton': pip install 'gpusim[triton]'"
torch = pytest.importorskip("torch", reason=NEEDS)
triton = pytest.importorskip("triton", reason=NEEDS)
tl = pytest.importorskip("triton.language", reason=NEEDS)

from validation.interpreted import CountedLaunch  # noqa: E402
from validation.kernels.problem import Problem, random_problem  # noqa: E402

OWN = "gpusim_triton_"
#: Triton 3.6's interpreter turns arrays of one element into loop bounds.
ARRAY_BOUNDS = "ignore:Conversion of an array with ndim > 0"
Tensors = tuple[dict[str, str], dict[str, str]]


def problem(**changes: Any) -> Problem:
    """A small problem of head size 64, four query heads and two KV heads."""
    shape = {"q_heads": 4, "kv_heads": 2, "head_dim": 64, "dtype": "fp16"}
    return random_problem(gpusim.Attention(**shape | changes))


def options_of(schedule: str, attention: gpusim.Attention, gpu: gpusim.Gpu) -> dict[str, int]:
    """How the project's kernel of a schedule is launched."""
    options = IMPLEMENTATIONS[OWN + schedule].options
    assert options is not None
    return dict(options(attention, gpu))


def amounts(counts: Counter[str], groups: Iterable[str]) -> list[int]:
    """Sums of the counts of each group of names."""
    return [sum(counts[name] for name in group.split()) for group in groups]


def requested(operands: tuple[Operand, ...]) -> Counter[str]:
    """Requested bytes by operand; the model's are exact, though floats."""
    bytes_ = {o.name: o.requested_bytes for o in operands}
    assert all(float(size).is_integer() for size in bytes_.values()), bytes_
    return Counter({name: int(size) for name, size in bytes_.items()})


def assert_predicted(
    launch: Launch, count: CountedLaunch, tensors: Tensors, *, sampled: tuple[str, str] = ("", "")
) -> None:
    """The model's FLOP and bytes of a launch are those counted.

    Args:
        launch: the model's.
        count: the interpreter's.
        tensors: operands, read and written, and the kernel's parameters that hold them.
        sampled: the operand and parameter whose bytes depend on the data, left out here.
    """
    assert launch.name == count.name
    assert launch.issued_flop == count.cost.flop
    for operands, names, lanes, sectors in (
        (launch.reads, tensors[0], count.cost.reads, count.sectors.reads),
        (launch.writes, tensors[1], count.cost.writes, count.sectors.writes),
    ):
        model = requested(tuple(o for o in operands if o.name != sampled[0]))
        # A row of the stash is a few bytes of a sector, which travels whole.
        found = Counter({k: sectors[k] if k == "Stash" else v for k, v in lanes.items()})
        del found[sampled[1]]
        assert set(model) <= set(" ".join(names).split())
        assert set(found) == set(" ".join(names.values()).split())
        assert amounts(model, names) == amounts(found, names.values())
