"""`python -m validation.compile_kernels`: what it refuses, in one line and before it compiles."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
#: Runs a program of validation/ as it is where some packages are not installed.
WITHOUT = """import runpy, sys
sys.modules.update(dict.fromkeys({missing!r}))
runpy.run_module("validation.{program}", run_name="__main__")
"""
with_triton = pytest.mark.skipif(
    not (find_spec("torch") and find_spec("triton")),
    reason="needs the extra 'triton': pip install 'gpusim[triton]'",
)


def ran(
    *arguments: str,
    program: str = "compile_kernels",
    missing: tuple[str, ...] = (),
    interpret: str = "0",
) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own, which interprets nothing unless told to."""
    code = WITHOUT.format(missing=missing, program=program)
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env=os.environ | {"TRITON_INTERPRET": interpret},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def _refused(outcome: subprocess.CompletedProcess[str], line: str) -> None:
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (2, "", f"{line}\n")


@pytest.mark.parametrize("missing", [("torch",), ("triton",), ("torch", "triton")])
def test_without_torch_or_triton_one_line_says_how_to_get_them(missing: tuple[str, ...]) -> None:
    if missing == ("triton",) and not find_spec("torch"):
        pytest.skip("torch is missing too")
    _refused(
        ran(missing=missing),
        f"compile_kernels: expected Torch and Triton, found no {missing[0]};"
        " pip install 'gpusim[triton]'",
    )


@with_triton
def test_interpreted_kernels_are_not_compiled() -> None:
    _refused(
        ran(interpret="1"),
        "compile_kernels: TRITON_INTERPRET: expected it unset: what is interpreted is not compiled",
    )


@with_triton
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--arch", "sm_100"), "--arch: expected one of sm_80, sm_89, sm_90, found sm_100"),
        (
            ("--kernel", "flash9"),
            "--kernel: expected one of flash1, flash2, flash2_split_kv, flash3, lean, santa_flash,"
            " santa_prop, found flash9",
        ),
        (
            ("--kernel", "flash3", "--arch", "sm_80"),
            "--arch: expected an architecture that flash3 is compiled for (sm_90), found sm_80",
        ),
    ],
)
def test_what_cannot_be_compiled_is_refused(arguments: tuple[str, ...], message: str) -> None:
    _refused(ran(*arguments), f"compile_kernels: {message}")


@pytest.mark.parametrize(
    ("program", "arguments", "message"),
    [
        (
            "compile_kernels",
            ("--output", "no/x.csv"),
            "--output: expected an existing folder, found no",
        ),
        (
            "compile_kernels",
            ("--output", "tests"),
            "Invalid value for '--output': File 'tests' is a directory.",
        ),
        ("compile_kernels", ("--outputs", "x.csv"), "No such option '--outputs'. Did you mean"),
        (
            "accuracy",
            ("--sample", "0"),
            "Invalid value for '--sample': 0 is not in the range x>=1.",
        ),
        ("accuracy", ("--engine", "x"), "Invalid value for '--engine': 'x' is not one of"),
    ],
)
def test_usage_errors_are_one_line_at_once(
    program: str, arguments: tuple[str, ...], message: str
) -> None:
    """Even without Triton: nothing was begun."""
    outcome = ran(*arguments, program=program, missing=("torch", "triton"))
    assert (outcome.returncode, outcome.stdout, outcome.stderr.count("\n")) == (2, "", 1)
    assert outcome.stderr.startswith(f"{program}: {message}")
