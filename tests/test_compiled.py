"""What the compiler made of the project's kernels, and what the schedules make of that."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

import gpusim
from gpusim.schedules.catalogue import build_launches
from gpusim.schedules.launch import Launch
from gpusim.schedules.step import Pipe
from gpusim.spec.compiled import FOLDER, CompiledKernel, compiled_kernel, compiled_kernels
from gpusim.spec.load import shipped

ROOT = Path(__file__).resolve().parents[1]
(TABLE,) = shipped(FOLDER, ".csv").values()
GPUS = {"sm_80": "a100_sxm_80gb", "sm_89": "rtx_6000_ada", "sm_90": "h100_sxm"}
S = gpusim.Sequence
PROMPT, DECODE = (S(count=2, q_len=256, kv_len=512),), (S(count=2, q_len=1, kv_len=8192),)
SEQUENCES = {
    "flash1": PROMPT,
    "flash2": PROMPT,
    "flash3": PROMPT,
    "flash2_split_kv": DECODE,
    "lean": DECODE,
    "santa_flash": DECODE,
    "santa_prop": DECODE,
}


def launches(schedule: str, arch: str, head_dim: int, *, causal: bool) -> tuple[Launch, ...]:
    """The model's launches of a problem like those that were compiled."""
    attention = gpusim.Attention(
        q_heads=32,
        kv_heads=8,
        head_dim=head_dim,
        causal=causal,
        sequences=SEQUENCES[schedule],
    )
    gpu = gpusim.load_gpu(GPUS[arch])
    return build_launches(f"gpusim_triton_{schedule}", attention, gpu, {})


CASES = [
    (schedule, arch, head_dim, causal)
    for schedule in SEQUENCES
    for arch in (GPUS if schedule != "flash3" else ["sm_90"])
    for head_dim in (64, 128)
    for causal in (True, False)
]


def build_of(launch: Launch, arch: str, head_dim: int) -> CompiledKernel:
    """The build that a launch has its resources from, found by them."""
    resources = (launch.threads, launch.registers, launch.smem_bytes)
    tile = launch.tile
    found = [
        row
        for row in compiled_kernels()
        if (row.kernel, row.arch, row.head_dim) == (launch.name, arch, head_dim)
        and (row.threads, row.registers, row.smem_bytes) == resources
        and row.block_n == tile.get("block_n", row.block_n)
        and row.block_m == tile.get("block_m", row.block_m)
    ]
    assert found, (launch.name, resources)
    return found[0]


@pytest.mark.parametrize(("schedule", "arch", "head_dim", "causal"), CASES)
def test_a_step_has_the_flop_and_exponentials_of_the_compiled_loop(
    schedule: str, arch: str, head_dim: int, causal: bool
) -> None:
    for launch in launches(schedule, arch, head_dim, causal=causal):
        build = build_of(launch, arch, head_dim)
        assert launch.step.total(Pipe.TENSOR) == build.tensor_flop
        if build.tensor_flop:  # the others have no main loop: their whole code was counted
            assert launch.step.total(Pipe.EXP2) == build.exp2


def test_occupancy_follows_from_the_compiled_resources() -> None:
    """By hand: 255 registers of 256 threads fill an SM; 71,680 bytes of 164 KiB fit twice."""
    dense, *_ = launches("flash2", "sm_80", 128, causal=True)
    split, *_ = launches("flash2_split_kv", "sm_80", 128, causal=True)
    assert (dense.registers, dense.threads, split.smem_bytes, split.threads) == (
        255,
        256,
        71680,
        128,
    )
    gpu = gpusim.load_gpu("a100_sxm_80gb")
    fit = [
        gpusim.occupancy(gpu, threads=x.threads, registers=x.registers, smem_bytes=x.smem_bytes)
        for x in (dense, split)
    ]
    assert [(f.ctas_per_sm, f.limiter) for f in fit] == [(1, "registers"), (2, "shared_memory")]


def test_kernels_that_are_launched_spill_next_to_nothing() -> None:
    for case in CASES:
        schedule, arch, head_dim, causal = case
        for launch in launches(schedule, arch, head_dim, causal=causal):
            assert build_of(launch, arch, head_dim).spill_bytes <= 64, (
                case
            )  # of 1,020 B of registers


@pytest.mark.parametrize("version", ["360", "390"])
def test_occupancy_of_other_compiled_kernels_is_theirs(version: str) -> None:
    """Experimental kernels whose CTAs an SM were counted with NVIDIA's own header."""
    path = ROOT.parent / "shared" / "data" / f"triton_aot_{version}.csv"
    if not path.is_file():
        pytest.skip("needs the shared table of compiled kernels beside the checkout")
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 94
    for row in rows:
        fit = gpusim.occupancy(
            gpusim.load_gpu(GPUS[row["arch"]]),
            threads=32 * int(row["launch_warps"]),
            registers=int(row["regs"]),
            smem_bytes=int(row["smem_bytes"]),
        )
        assert fit.ctas_per_sm == int(row["ctas_per_sm"]), row


def test_a_build_that_does_not_exist_is_named() -> None:
    with pytest.raises(gpusim.SpecError, match="a build of flash2_fwd for sm_90 with head_dim 96"):
        compiled_kernel("flash2_fwd", "sm_90", head_dim=96)


def test_compiling_again_gives_the_shipped_table(tmp_path: Path) -> None:
    triton = pytest.importorskip(
        "triton", reason="needs the extra 'triton': pip install 'gpusim[triton]'"
    )
    if TABLE.stem != f"triton_{triton.__version__}":
        pytest.skip(f"needs the Triton of the table, {TABLE.stem}; this is {triton.__version__}")
    pytest.importorskip("torch", reason="needs the extra 'triton': pip install 'gpusim[triton]'")
    again = tmp_path / "table.csv"
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    subprocess.run(
        [sys.executable, "-m", "validation.compile_kernels", "--output", str(again)],
        cwd=ROOT,
        env=environment | {"TRITON_CACHE_DIR": str(tmp_path / "cache")},
        check=True,
        capture_output=True,
    )
    assert again.read_text(encoding="utf-8") == TABLE.read_text(encoding="utf-8")
