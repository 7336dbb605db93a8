"""`python -m validation.framework_builds`: what it is for, and what it refuses."""

import csv
import json
import os
import subprocess
import sys

import pytest
from test_compile_kernels import ROOT, ran, with_triton

from gpusim.spec.framework_builds import FOLDER
from gpusim.spec.load import shipped

#: Prints what a walk of the project's FlashAttention-2 kernel gives on L40S, and the longest that
#: one of its warps can take: every instruction after the last one's result.
WALK = """import json
from gpusim.spec.load import load_gpu
from validation import instruction_times as times
from validation.configurations import configurations
from validation.cubin import read_cubin
from validation.framework_builds import measured
from validation.framework_launches import builds
from validation.instruction_chain import Memory, pass_clocks, steps
from validation.loop_times import last_loop
from validation.offline import compiled
chosen = next(c for c in configurations() if (c.schedule, c.arch) == ("flash2", "sm_89"))
with compiled(chosen.arch) as launches:
    chosen.launch()
code = read_cubin(launches[0].binary.asm["cubin"])
loop, gpu = last_loop(code.code), load_gpu("l40s")
walked = steps([code.code[i].opcode for i in loop], [code.controls[i] for i in loop], gpu)
stalls = [max(1, step.control.stall) for step in walked]
copies = sum(step.verb in ("LDG", "LDGSTS") for step in walked)
waits = [step.use.clocks + step.use.passes + times.SMEM_CLOCKS for step in walked]
print(json.dumps({
    "clocks": pass_clocks(walked, gpu, Memory(l2_clocks=300.0), warps=1),
    "least": sum(stalls),
    "most": sum(stalls) + sum(waits) + 300 * copies,
    "places": len(loop),
    "row": measured(launches[0], next(b for b in builds() if b.arch == chosen.arch)),
}))
"""
(TABLE,) = shipped(FOLDER, ".csv").values()


@pytest.mark.parametrize("missing", ["sglang", "vllm"])
def test_without_a_framework_one_line_says_what_to_install(missing: str) -> None:
    outcome = ran("--framework", missing, program="framework_builds", missing=(missing,))
    release = {"sglang": "0.5.14", "vllm": "0.24.0"}[missing]
    line = (
        f"framework_builds: expected the kernels of {missing}, found no such package; pip install"
        f" '{missing}=={release}', or choose another with --framework\n"
    )
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (2, "", line)


def test_a_framework_that_is_not_known_is_refused() -> None:
    outcome = ran("--framework", "x", program="framework_builds")
    assert (outcome.returncode, outcome.stderr.count("\n")) == (2, 1)
    assert "'x' is not one of 'sglang', 'vllm'" in outcome.stderr


def test_the_table_has_a_row_for_each_build_in_order() -> None:
    pytest.importorskip("torch", reason="needs the extra 'triton': pip install 'gpusim[triton]'")
    from validation.framework_launches import builds

    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    wanted = [
        [b.kernel, b.arch, str(b.head_dim), b.dtype, b.kv_dtype, str(b.window).lower()]
        for b in builds()
    ]
    assert [list(row.values())[:6] for row in rows] == wanted


@with_triton
def test_a_pass_is_no_shorter_than_its_stalls_nor_longer_than_all_latencies() -> None:
    outcome = subprocess.run(
        [sys.executable, "-c", WALK],
        cwd=ROOT,
        env=os.environ | {"TRITON_INTERPRET": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(outcome.stdout)
    assert 0 < found["least"] <= found["clocks"] <= found["most"]
    row = found["row"]
    assert row["instructions"] == found["places"]
    assert row["chain_clocks"] >= row["busy_clocks"] > 0
    assert (row["spill_bytes"], row["local_bytes"], row["threads"]) == (0, 0, 256)
