"""The project's Triton kernels in the interpreter: what they compute, and what they move.

Bytes and FLOP are counted three times: by the interpreter, by the formulas beside the kernels, and
by the schedules that predict them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from interpreter import ARRAY_BOUNDS, OWN, Tensors, assert_predicted, options_of, problem

import gpusim
from gpusim.schedules.catalogue import build_launches
from validation.interpreted import counted
from validation.kernels.flash1 import flash1, flash1_cost
from validation.kernels.flash2 import flash2, flash2_cost
from validation.kernels.lean import lean, lean_cost
from validation.kernels.lean_plan import prepare
from validation.kernels.problem import Problem
from validation.kernels.split_kv import split_kv, split_kv_cost
from validation.reference import reference

pytestmark = pytest.mark.filterwarnings(ARRAY_BOUNDS)
S = gpusim.Sequence
#: fp16 outputs of fp16 inputs: a few roundings of 2^-11 of values of up to 4.
TOLERANCE = 4e-3


PROBLEMS = {
    "causal": problem(sequences=(S(q_len=200, kv_len=200),)),
    "not causal, odd sizes": problem(causal=False, sequences=(S(q_len=33, kv_len=131),)),
    "ragged": problem(sequences=(S(q_len=70, kv_len=130), S(count=2, q_len=1, kv_len=65))),
    "window": problem(window=37, sequences=(S(q_len=70, kv_len=130), S(q_len=33, kv_len=33))),
    "window on both sides": problem(window=9, causal=False, sequences=(S(q_len=80, kv_len=60),)),
    "one head": problem(q_heads=1, kv_heads=1, sequences=(S(q_len=17, kv_len=65),)),
    "groups of eight": problem(q_heads=8, kv_heads=1, sequences=(S(count=2, q_len=3, kv_len=99),)),
    "decode": problem(
        sequences=(S(q_len=1, kv_len=1000), S(q_len=1, kv_len=1), S(q_len=1, kv_len=300))
    ),
    "d=128": problem(head_dim=128, sequences=(S(q_len=40, kv_len=140),)),
}
TILE: dict[str, int] = {"block_m": 64, "block_n": 32, "num_warps": 4, "stages": 2}
DECODE = TILE | {"block_m": 16}
KERNELS: dict[str, Callable[[Problem], Any]] = {
    "flash1": lambda p: flash1(p, block_n=64, num_warps=4, stages=1, num_splits=1),
    "flash1, 3 splits": lambda p: flash1(p, block_n=64, num_warps=4, stages=1, num_splits=3),
    "flash2": lambda p: flash2(p, **TILE),
    "split_kv, 1 split": lambda p: split_kv(p, **DECODE, num_splits=1, combine_rows=8),
    "split_kv, 3 splits": lambda p: split_kv(p, **TILE, num_splits=3, combine_rows=4),
    "lean, 1 worker": lambda p: lean(p, **TILE, workers=1),
    "lean, 5 workers": lambda p: lean(p, **DECODE, workers=5),
}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", PROBLEMS)
def test_outputs_are_those_of_a_float64_reference(name: str, kernel: str) -> None:
    given = PROBLEMS[name]
    if kernel.startswith("flash1") and given.attention.window is not None:
        with pytest.raises(ValueError, match="window"):
            KERNELS[kernel](given)
        return
    output, statistic = reference(given)
    found = KERNELS[kernel](given)
    o, lse = found if isinstance(found, tuple) else (found, None)
    assert np.abs(o.double().numpy() - output).max() < TOLERANCE
    if lse is not None:
        np.testing.assert_allclose(lse.numpy(), statistic, rtol=1e-5, atol=1e-5)


#: Operands of each launch, and the kernel's parameters that hold them: read, then written.
SPLIT: Tensors = ({"q": "Q", "kv": "K V"}, {"o partial": "O LSE"})
TENSORS: dict[str, Tensors] = {
    "flash1_fwd": (
        {"q": "Q", "kv": "K V", "o_tmp": "Scratch LSE"},
        {"o o_tmp lse": "O Scratch LSE"},
    ),
    "flash2_fwd": SPLIT,
    "split_fwd": SPLIT,
    "combine": ({"partial": "PartialO PartialLSE"}, {"o": "O LSE"}),
    "lean_fwd": (
        {"q": "Q", "kv": "K V", "partial": "PartialO PartialLSE"},
        {"o": "O", "partial": "PartialO PartialLSE"},
    ),
}
RUNS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "flash1": (flash1, flash1_cost),
    "flash2": (flash2, flash2_cost),
    "flash2_split_kv": (split_kv, split_kv_cost),
    "lean": (lean, lean_cost),
}
PREFILLS: dict[str, dict[str, Any]] = {
    "causal, groups": {"sequences": (S(q_len=150, kv_len=150), S(q_len=20, kv_len=83))},
    "not causal": {"causal": False, "sequences": (S(q_len=40, kv_len=211),)},
    "d=128": {"head_dim": 128, "sequences": (S(count=2, q_len=130, kv_len=140),)},
    "decode": {"sequences": (S(count=2, q_len=1, kv_len=700), S(q_len=1, kv_len=77))},
    "window": {"window": 50, "sequences": (S(q_len=140, kv_len=190),)},
}


@pytest.mark.parametrize("schedule", RUNS)
@pytest.mark.parametrize("shape", PREFILLS)
@pytest.mark.parametrize("gpu", ["a100_sxm_80gb", "l40s", "h100_sxm"])
def test_counted_flop_and_bytes_are_declared_and_predicted(
    schedule: str, shape: str, gpu: str
) -> None:
    given, machine = problem(**PREFILLS[shape]), gpusim.load_gpu(gpu)
    attention = given.attention
    if schedule == "flash1" and attention.window is not None:
        pytest.skip("FlashAttention-1 has no window")
    run, cost = RUNS[schedule]
    options = options_of(schedule, attention, machine)
    with counted() as counts:
        run(given, **options)
    tile = {"num_warps", "stages", "combine_rows"}
    declared = cost(attention, **{k: v for k, v in options.items() if k not in tile})
    assert [c.cost for c in counts] == list(declared if isinstance(declared, tuple) else [declared])
    launches = build_launches(OWN + schedule, attention, machine, {})
    assert len(launches) == len(counts)
    for launch, count in zip(launches, counts, strict=True):
        assert_predicted(launch, count, TENSORS[count.name])


def test_lean_leaves_its_flags_as_it_found_them() -> None:
    given = PROBLEMS["ragged"]
    prepared = prepare(given, block_m=16, block_n=32, workers=7)
    first, second = (lean(given, prepared, **DECODE, workers=7) for _ in range(2))
    assert not prepared.flags.any()
    assert bool((first == second).all())
