"""Occupancy against NVIDIA's own header, and the distance to one more CTA by brute force."""

import csv
import gzip
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpusim.schedules.occupancy import occupancy
from gpusim.spec.gpu import Gpu
from gpusim.spec.load import load_gpu

REPOSITORY = Path(__file__).resolve().parents[1]
SAMPLE = Path(__file__).with_name("data") / "occupancy_sample.csv"
VECTORS = REPOSITORY.parent / "shared" / "data" / "occupancy_vectors.csv.gz"

A100 = load_gpu("a100_sxm_80gb")
LARGE = {
    "max_threads": 2048,
    "max_ctas": 32,
    "smem_bytes": 233472,
    "max_smem_per_cta_bytes": 232448,
}
SMALL = {
    "max_threads": 1536,
    "max_ctas": 24,
    "smem_bytes": 102400,
    "max_smem_per_cta_bytes": 101376,
}
#: SM limits by compute capability (CUDA programming guide), laid over those of A100.
LIMITS: dict[str, dict[str, int]] = {
    "sm_80": {},
    "sm_86": SMALL | {"max_ctas": 16},
    "sm_89": SMALL,
    "sm_90": LARGE,
    "sm_100": LARGE,
    "sm_120": SMALL,
}
#: The header's letters for what binds.
LETTERS = {"registers": "R", "shared_memory": "S", "warps": "W", "ctas": "B"}


def _gpu(capability: str) -> Gpu:
    return A100.model_copy(update={"sm": A100.sm.model_copy(update=LIMITS[capability])})


def _disagreements(rows: Iterable[dict[str, str]]) -> tuple[int, list[object]]:
    """How many rows there were, and those where ours and the header's answers differ."""
    gpus = {capability: _gpu(capability) for capability in LIMITS}
    count = 0
    wrong: list[object] = []
    for row in rows:
        count += 1
        ours = occupancy(
            gpus[row["cc"]],
            threads=int(row["threads"]),
            registers=int(row["registers"]),
            smem_bytes=int(row["smem_bytes"]),
        )
        binds = {LETTERS[n] for n, limit in ours.limits.items() if limit == ours.ctas_per_sm}
        limits = dict(ours.limits)
        if row["limit_registers"] == "-1":  # the header's word for no limit
            limits["registers"] = -1
            binds.discard("R")
        found = (ours.ctas_per_sm, ours.warps_per_sm, limits, binds, LETTERS[ours.limiter] in binds)
        limits_expected = {
            "registers": int(row["limit_registers"]),
            "shared_memory": int(row["limit_smem"]),
            "warps": int(row["limit_warps"]),
            "ctas": int(row["limit_ctas"]),
        }
        letters = set(row["limiting"])
        expected = (int(row["ctas"]), int(row["warps"]), limits_expected, letters, True)
        if found != expected:
            wrong.append((row, found))
    return count, wrong


def test_every_sampled_vector_of_the_header_is_met_exactly() -> None:
    with SAMPLE.open(newline="") as file:
        count, wrong = _disagreements(csv.DictReader(file))
    assert count == 677
    assert wrong == []


@pytest.mark.skipif(not VECTORS.is_file(), reason="the full set of vectors is not beside this copy")
def test_every_vector_of_the_header_is_met_exactly() -> None:
    names = {
        "block_threads": "threads",
        "regs_per_thread": "registers",
        "dyn_smem_bytes": "smem_bytes",
        "active_blocks": "ctas",
        "active_warps": "warps",
        "limit_regs": "limit_registers",
        "limit_blocks": "limit_ctas",
    }
    with gzip.open(VECTORS, "rt", newline="") as file:
        rows = csv.DictReader(file)
        count, wrong = _disagreements({names.get(k, k): v for k, v in r.items()} for r in rows)
    assert count == 45_864
    assert wrong == []


@pytest.mark.parametrize(
    ("name", "capability"),
    [("a100_sxm_80gb", "sm_80"), ("rtx_6000_ada", "sm_89"), ("h100_sxm", "sm_90")],
)
def test_shipped_profiles_carry_the_limits_of_their_capability(name: str, capability: str) -> None:
    gpu = load_gpu(name)
    assert gpu.architecture == capability
    assert gpu.sm == _gpu(capability).sm.model_copy(update={"count": gpu.sm.count})


@pytest.mark.parametrize("capability", LIMITS)
@settings(max_examples=40, derandomize=True, deadline=None, database=None)
@given(threads=st.integers(1, 1024), registers=st.integers(0, 255), kib=st.integers(0, 99))
def test_the_next_cta_is_where_brute_force_finds_it(
    capability: str, threads: int, registers: int, kib: int
) -> None:
    """Each resource is taken apart: the most of it that its own limit allows for one CTA more."""
    gpu = _gpu(capability)
    found = occupancy(gpu, threads=threads, registers=registers, smem_bytes=1024 * kib)
    goal = found.ctas_per_sm + 1
    room = found.limits["warps"] >= goal and found.limits["ctas"] >= goal
    fitting = [
        r
        for r in range(1, 256)
        if occupancy(gpu, threads=threads, registers=r).limits["registers"] >= goal
    ]
    assert found.next_registers == (max(fitting, default=0) if room else 0)
    if found.next_smem_bytes < 0:
        least = occupancy(gpu, threads=threads, registers=16).limits["shared_memory"]
        assert not room or least < goal
        return
    assert room
    for extra, fits in ((0, True), (1, False)):
        size = found.next_smem_bytes + extra
        limit = occupancy(gpu, threads=threads, registers=16, smem_bytes=size).limits
        assert (limit["shared_memory"] >= goal) is fits


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"threads": 0, "registers": 32}, "threads"),
        ({"threads": 1025, "registers": 32}, "threads"),
        ({"threads": 128, "registers": 256}, "registers"),
        ({"threads": 128, "registers": 32, "smem_bytes": -1}, "smem_bytes"),
    ],
)
def test_what_no_cta_may_ask_for_is_refused_by_name(asked: dict[str, int], field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}: expected"):
        occupancy(A100, **asked)


def test_what_a_caller_does_to_the_limits_stays_with_the_caller() -> None:
    first = occupancy(load_gpu("a100_sxm_80gb"), threads=128, registers=64)
    kept = dict(first.limits)
    first.limits["warps"] = -5
    assert occupancy(load_gpu("a100_sxm_80gb"), threads=128, registers=64).limits == kept
