"""Bad input ends with status 2 and one line that says where it is; nothing is written."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli, Outcome
from hypothesis import given, settings
from hypothesis import strategies as st

from gpusim.errors import SpecError
from gpusim.spec import yaml_file
from gpusim.spec.load import load_gpu, load_workload

WORKLOAD = """\
name: test
gpus: [a100_sxm_80gb]
schedules: [flash2]
attention: {q_heads: 32, kv_heads: 8, head_dim: 128, dtype: bf16, causal: true}
sequences: [{count: 2, q_len: 1, kv_len: 4096}]
"""
LEAF = "{value: 100, kind: estimated, source: a guess}"
PROFILE = f"""\
extends: a100_sxm_80gb
name: mine
sm:
  count: {LEAF}
"""
OPTION = "schedules: [flash2]"
SEQUENCE = "{count: 2, q_len: 1, kv_len: 4096}"

#: What is wrong: the text to replace in WORKLOAD, its replacement, and what the message has.
WORKLOADS = {
    "a missing key": ("q_heads: 32, ", "", "attention.q_heads: expected a value"),
    "a missing section": ("attention:", "description: x #", "attention: expected a value"),
    "no sequences": ("sequences:", "description: x #", " sequences: expected a value"),
    "a missing key in a list": ("q_len: 1, ", "", " sequences[0].q_len: expected a value"),
    "a misspelt key": ("q_heads", "q_hedas", "attention.q_hedas", "'q_heads'"),
    "a misspelt section": ("attention", "atention", " atention", "'attention'"),
    "a misspelt key in a list": ("kv_len", "kv_lne", " sequences[0].kv_lne", "'kv_len'"),
    "an unknown key": ("gpus:", "zzz: 1\ngpus:", " zzz:", "known: name"),
    "a key twice": ("q_heads: 32", "q_heads: 32, q_heads: 32", "attention.q_heads", "once"),
    "a key twice in a list": ("q_len: 1", "q_len: 1, q_len: 1", "sequences[0].q_len", "once"),
    "a section twice": ("sequences:", "name: again\nsequences:", " name: expected each key once"),
    "text for a number": ("32", "'32'", "attention.q_heads: expected an integer", "'32'"),
    "true for a number": ("32", "true", "attention.q_heads: expected an integer", "true"),
    "a fraction for a number": ("32", "32.5", "attention.q_heads: expected an integer", "32.5"),
    "a float for an integer": ("32", "32.0", "attention.q_heads: expected an integer", "32.0"),
    "an exponent for an integer": ("4096", "4e3", "sequences[0].kv_len: expected", "4000.0"),
    "null for a number": ("32", "null", "attention.q_heads: expected an integer", "null"),
    "no value at all": ("32", "", "attention.q_heads: expected an integer", "null"),
    "a list for a number": ("32", "[32]", "attention.q_heads: expected an integer", "[32]"),
    "an octal number": ("4096", "010", "sequences[0].kv_len: expected an integer", "'010'"),
    "a number of base sixty": ("4096", "1:30", "sequences[0].kv_len: expected", "'1:30'"),
    "a number with a unit": ("4096", "4k", "sequences[0].kv_len: expected", "'4k'"),
    "not a number": ("4096", ".nan", "sequences[0].kv_len: expected an integer", "nan"),
    "infinity": ("4096", ".inf", "sequences[0].kv_len: expected an integer", "inf"),
    "a negative number": ("4096", "-4096", "sequences[0].kv_len: expected at least 1", "-4096"),
    "zero": ("4096", "0", "sequences[0].kv_len: expected at least 1", "found 0"),
    "no sequence of a kind": ("count: 2", "count: 0", "sequences[0].count: expected at least 1"),
    "an absurd length": ("4096", "10000000000", "sequences[0].kv_len: expected at most 16777216"),
    "an absurd count": ("count: 2", "count: 99999999", "sequences[0].count: expected at most"),
    "an absurd head count": ("32", "100000", "attention.q_heads: expected at most 4096"),
    "a number of many digits": ("32", "9" * 3000, "attention.q_heads: expected at most 4096"),
    "more digits than Python reads": ("32", "9" * 5000, "expected YAML", "digits"),
    "an absurd batch": (
        SEQUENCE,
        "{count: 1000000, q_len: 1, kv_len: 8}, {count: 1000000, q_len: 1, kv_len: 9}",
        " sequences: expected at most 1048576",
        "2000000",
    ),
    "an absurd number of queries": (
        SEQUENCE,
        "{count: 1000000, q_len: 16000000, kv_len: 16000000}",
        " sequences: expected at most",
        "512000000000000",
    ),
    "a head size of no kernel": ("128", "516", "attention.head_dim: expected at most 512", "516"),
    "an odd head size": ("128", "100", "attention.head_dim: expected a multiple of 8", "100"),
    "heads that do not divide": ("kv_heads: 8", "kv_heads: 7", "attention.kv_heads", "found 7"),
    "more KV heads than heads": ("kv_heads: 8", "kv_heads: 64", "attention.kv_heads", "found 64"),
    "more queries than keys": ("q_len: 1", "q_len: 5000", " sequences[0].kv_len", "q_len (5000)"),
    "an unknown data type": ("bf16", "bf61", "attention.dtype: expected 'fp16'", "mean 'bf16'"),
    "a data type that is null": ("bf16", "~", "attention.dtype: expected 'fp16'", "found null"),
    "FP8 keys on a GPU without": ("dtype: bf16", "kv_dtype: fp8", "attention.kv_dtype", "a100"),
    "FP8 on a GPU without": ("bf16", "fp8", "attention.dtype", "a100_sxm_80gb", "found fp8"),
    "yes for true": ("true", "yes", "attention.causal: expected true or false", "'yes'"),
    "one for true": ("true", "1", "attention.causal: expected true or false", "found 1"),
    "a list for a section": ("attention:", "attention: [1] #", "attention: expected a mapping"),
    "text for a section": ("attention:", "attention: x #", "attention: expected a mapping", "'x'"),
    "a mapping for a list": ("[{", "{a: {", " sequences: expected a list"),
    "numbers in a list": (SEQUENCE, "1, 4096", "sequences[0]: expected a mapping", "found 1"),
    "an empty list": (SEQUENCE, "", " sequences: expected at least 1", "found []"),
    "sequences in two places": (
        "dtype: bf16",
        "sequences: []",
        "attention.sequences: expected beside attention",
    ),
    "an empty name": ("name: test", "name: ''", " name: expected at least 1", "found ''"),
    "a number for a name": ("name: test", "name: 5", " name: expected text", "found 5"),
    "a name of many words": ("name: test", f"name: {'x' * 999}", " name: expected at most 200"),
    "an unknown cache state": (
        "gpus:",
        "l2: wram\ngpus:",
        " l2: expected 'cold' or 'warm'",
        "'warm'?",
    ),
    "an unknown load": (
        "gpus:",
        "load: stedy\ngpus:",
        " load: expected 'benchmark' or 'steady'",
        "a number",
        "'steady'?",
    ),
    "a load that is no number": ("gpus:", "load: .nan\ngpus:", " load: expected", "found nan"),
    "a load below zero": ("gpus:", "load: -1\ngpus:", " load: expected", "at least 0", "-1"),
    "an unknown GPU": ("a100_sxm", "a100_smx", " gpus[0]:", "a100_smx_80gb", "'a100_sxm_80gb'?"),
    "text for a list of GPUs": ("[a100_sxm_80gb]", "a100", " gpus: expected a list", "'a100'"),
    "a GPU that is a number": ("a100_sxm_80gb", "100", " gpus[0]: expected text", "found 100"),
    "a GPU with a name too long": ("a100_sxm_80gb", "x" * 9999, " gpus[0]: xxx", "known: "),
    "a GPU with a NUL": ("a100_sxm_80gb", '"a\\0"', " gpus[0]: a\\x00: expected a GPU"),
    "a GPU that is a folder": ("a100_sxm_80gb", "/", " gpus[0]: /: expected", "a folder"),
    "an unknown schedule": ("[flash2]", "[falsh2]", " schedules[0]:", "'falsh2'", "'flash2'?"),
    "text for schedules": ("[flash2]", "flash2", " schedules: expected a list", "'flash2'"),
    "a schedule without name": ("[flash2]", "[{block_m: 64}]", " schedules[0].name: expected"),
    "a schedule that is a number": ("[flash2]", "[flash2, 5]", " schedules[1]:", "found 5"),
    "a schedule that is a list": ("[flash2]", "[[flash2]]", " schedules[0]:", "['flash2']"),
    "a schedule that is null": ("[flash2]", "[~]", " schedules[0]:", "found null"),
    "a schedule name that is a number": ("[flash2]", "[{name: 2}]", " schedules[0].name:"),
    "a misspelt option": (
        OPTION,
        "schedules: [{name: flash2, blockm: 64}]",
        " schedules[0].blockm: expected an option",
        "'block_m'?",
    ),
    "an option of another schedule": (
        OPTION,
        "schedules: [flash2, {name: flash2, num_splits: 4}]",
        " schedules[1].num_splits: expected an option",
    ),
    "a tile of no rows": (
        OPTION,
        "schedules: [{name: flash2, block_m: 0}]",
        " schedules[0].block_m: expected at least 16, found 0",
    ),
    "text for an option": (
        OPTION,
        "schedules: [{name: flash2, block_m: big}]",
        " schedules[0].block_m: expected an integer, found 'big'",
    ),
    "a tile that is too large": (
        OPTION,
        "schedules: [{name: flash2, block_m: 1024, block_n: 1024}]",
        "schedule flash2: ",
        "expected a CTA that fits on an SM",
        "shared memory",
    ),
    "more splits than sense": (
        OPTION,
        "schedules: [{name: flash2_split_kv, num_splits: 100000}]",
        " schedules[0].num_splits: expected at most 256",
    ),
    "an alias": ("4096", "&a 4096}, {q_len: 1, kv_len: *a", "line 5", "an alias"),
    "a Python object": ("test", "!!python/object:os.system x", "line 1", "python/object"),
    "a tag": ("test", "!foo x", "line 1: expected plain values, found the tag '!foo'"),
    "a tag on a section": ("attention:", "attention: !!omap", "line 4", "omap"),
    "a second document": ("gpus:", "---\ngpus:", "line 2: expected one document"),
    "a key that is a number": ("gpus:", "5: 6\ngpus:", "line 2: expected a key that is text", "5"),
    "a key that is true": ("gpus:", "true: 6\ngpus:", "line 2: expected a key that is text"),
    "a key that is null": ("gpus:", "~: 6\ngpus:", "line 2: expected a key that is text"),
    "a key that is a list": ("gpus:", "? [a]\n: 6\ngpus:", "line 2: expected a key", "a list"),
    "a key that YAML 1.1 takes for true": ("gpus:", "on: 6\ngpus:", " on: expected a known key"),
    "a key of several lines": ("gpus:", '"a\\nb": 6\ngpus:', " a\\nb: expected a known key"),
    "a key with a colour": ("gpus:", '"\\e[31m": 6\ngpus:', " \\x1b[31m: expected a known key"),
    "a merge key": ("gpus:", "<<: {l2: warm}\ngpus:", " <<: expected a known key"),
    "a bracket left open": ("[flash2]", "[flash2", "expected YAML, found", "line 4"),
    "a tab": ("gpus:", "\tgpus:", "expected YAML, found", "line 2"),
    "deep nesting": ("test", "[" * 50 + "]" * 50, "line 1: expected at most 20 nested levels"),
    "nesting without end": ("test", "[" * 100_000, "line 1: expected at most 20 nested levels"),
}

#: Keyword arguments of `simulate` that are no options of a schedule.
NO_OPTIONS = ["engine", "gpu", "l2", "load", "workload", "trace", "attention", "schedule", "tiling"]

PROFILES = {
    "a number without source": (LEAF, "108", "sm.count: expected {value, kind, source}", "108"),
    "a leaf without source": (", source: a guess", "", "sm.count.source: expected a value"),
    "a leaf without kind": ("kind: estimated, ", "", "sm.count.kind: expected a value"),
    "a leaf without value": ("value: 100, ", "", "sm.count.value: expected a value"),
    "a misspelt part of a leaf": ("value:", "vlaue:", "sm.count.vlaue:", "'value'?"),
    "a misspelt kind": (
        "estimated",
        "estimeted",
        " sm.count.kind: expected 'datasheet', 'measured', 'calibrated' or 'estimated'",
        "mean 'estimated'?",
    ),
    "a source that is a number": ("a guess", "5", " sm.count.source: expected text, found 5"),
    "an empty source": ("a guess", "''", " sm.count.source: expected at least 3"),
    "text for a value": ("100", "'100'", "sm.count.value: expected a number, found '100'"),
    "true for a value": ("100", "true", "sm.count.value: expected a number, found true"),
    "null for a value": ("100", "~", "sm.count.value: expected a number, found null"),
    "a list for a value": ("100", "[1]", "sm.count.value: expected a number, found [1]"),
    "text for a leaf": (LEAF, "'108'", "sm.count: expected an integer, found '108'"),
    "null for a leaf": (LEAF, "~", "sm.count: expected an integer, found null"),
    "a list for a section": (f"\n  count: {LEAF}", " [1]", "sm: expected a mapping"),
    "null for a section": (f"\n  count: {LEAF}", "", "sm: expected a mapping, found null"),
    "a leaf for a section": (f"\n  count: {LEAF}", f" {LEAF}", "sm: expected a mapping"),
    "a leaf for text": ("name: mine", f"name: {LEAF}", "name: expected text, found 100"),
    "half an SM": ("100", "0.5", "sm.count: expected an integer, found 0.5"),
    "no SM": ("100", "0", "sm.count: expected at least 1, found 0"),
    "an SM less than none": ("100", "-1", "sm.count: expected at least 1, found -1"),
    "too many SMs": ("100", "1000000000", "sm.count: expected at most 4096"),
    "a misspelt number": ("count", "cuont", "sm.cuont: expected a known key", "'count'?"),
    "a misspelt section": ("sm:", "smm:", " smm: expected a known key"),
    "a rate that is no number": (
        "sm:\n  count: {value: 100",
        "hbm:\n  peak_gb_per_s: {value: .nan",
        "hbm.peak_gb_per_s: expected",
        "nan",
    ),
    "a rate without end": (
        "sm:\n  count: {value: 100",
        "hbm:\n  peak_gb_per_s: {value: .inf",
        "hbm.peak_gb_per_s: expected",
        "inf",
    ),
    "a rate of next to nothing": (
        "sm:\n  count: {value: 100",
        "clock:\n  steady_mhz: {value: 1e-300",
        "clock.steady_mhz: expected at least 0.001",
    ),
    "a fraction above one": (
        "sm:\n  count: {value: 100",
        "overlap:\n  softmax_exposed_fraction: {value: 1.5",
        "overlap.softmax_exposed_fraction: expected at most 1",
    ),
    "a rate of an unknown data type": (
        "sm:\n  count:",
        "tensor:\n  mma_sync_flop_per_clock:\n    fp61:",
        "tensor.mma_sync_flop_per_clock.fp61: expected a data type",
        "'fp16'?",
    ),
    "an L2 that misses before it hits": (
        "sm:\n  count: {value: 100",
        "l2:\n  miss_mib: {value: 1",
        "l2.miss_mib: expected more than hit_mib",
    ),
    "a base that is unknown": ("a100_sxm", "a100_smx", " extends: a100_smx", "'a100_sxm_80gb'?"),
    "a base that is a number": ("a100_sxm_80gb", "100", " extends: expected a GPU name", "100"),
    "a base that is null": ("a100_sxm_80gb", "", " extends: expected a GPU name", "null"),
    "a base that is a folder": ("a100_sxm_80gb", "..", " extends: ..: expected", "a folder"),
    "a base with a name too long": ("a100_sxm_80gb", "x" * 9999, " extends: xxx"),
    "a profile that extends itself": ("a100_sxm_80gb", "bad.yaml", " extends:", "circle"),
    "no name": ("name: mine\n", "", " name: expected a value"),
    "no base": ("extends: a100_sxm_80gb\n", "", "expected a value, found none", "more)"),
    "an unknown architecture": (
        "name: mine",
        "name: mine\narchitecture: sm_81",
        " architecture: expected 'sm_80'",
        "found 'sm_81'",
    ),
}

COMMANDS = {
    "no threads": ("occupancy --threads 0 --registers 32", "--threads", "1 to 1024", "found 0"),
    "too many threads": ("occupancy --threads 5000 --registers 32", "--threads", "found 5000"),
    "too many registers": ("occupancy --threads 32 --registers 300", "--registers", "found 300"),
    "less memory than none": (
        "occupancy --threads 32 --registers 32 --smem -1",
        "--smem: expected 0 or more, found -1",
    ),
    "threads that are text": ("occupancy --threads x --registers 32", "--threads", "'x'"),
    "no registers given": ("occupancy --threads 32", "--registers"),
    "an unknown GPU": ("occupancy --threads 32 --registers 32 --gpu l40", "l40:", "'l40s'?"),
    "an unknown profile": ("hardware h100_smx", "h100_smx:", "'h100_sxm'?"),
    "an unknown engine": ("simulate good.yaml --engine foo", "--engine", "'foo'", "'sim'"),
    "an unknown format": ("simulate good.yaml --format xml", "--format", "'xml'", "'json'"),
    "an unknown GPU to simulate": ("simulate good.yaml --gpu h100", "h100:", "'h100_sxm'?"),
    "an unknown schedule": (
        "simulate good.yaml --schedule falsh2",
        "--schedule",
        "'falsh2'",
        "'flash2'?",
    ),
    "an unknown option": ("simulate good.yaml --shedule flash2", "--shedule", "--schedule"),
    "an unknown command": ("simulat good.yaml", "'simulat'"),
    "no workload": ("simulate", "WORKLOAD"),
    "an unknown workload": ("simulate llama3_8b_decoed", "'llama3_8b_decode'?"),
    "a workload that is missing": ("simulate nowhere/x.yaml", "nowhere/x.yaml: expected"),
    "a workload that is a folder": ("simulate .", ".: expected a workload name or a file"),
    "a workload with a name too long": (f"simulate {'x' * 5000}", "xxx...: expected"),
    "a second workload that is bad": ("simulate good.yaml bad.yaml", "bad.yaml: expected"),
    "an output folder that is missing": ("hardware --output no/out", "--output: expected", "no"),
    "an output folder that is a file": (
        "hardware --output good.yaml/out",
        "--output: expected an existing folder, found good.yaml",
    ),
    "an output that is a folder": ("hardware --output .", "--output", "directory"),
    "an unknown schema": ("schema foo", "'foo'"),
    "a schema in no folder": ("schema workload --output no/out", "--output: expected", "no"),
}


def replaced(text: str, old: str, new: str) -> str:
    """The text with one thing changed."""
    assert old in text
    return text.replace(old, new, 1)


def check(outcome: Outcome, *parts: str) -> None:
    """One line, or two, on stderr with all parts; nothing on stdout."""
    assert outcome.code == 2, outcome
    assert outcome.out == ""
    assert outcome.err.startswith("gpusim: ")
    assert 1 <= outcome.err.count("\n") <= 2, outcome.err
    assert len(outcome.err) < 1000
    assert "Traceback" not in outcome.err
    for part in parts:
        assert part in outcome.err


@pytest.fixture
def refused(cli: Cli, tmp_path: Path) -> Callable[..., None]:
    """Run a command that must fail, and see that it leaves every file as it was."""
    (tmp_path / "out.json").write_text("before")
    (tmp_path / "good.yaml").write_text(WORKLOAD)

    def run(arguments: list[str], *parts: str) -> None:
        before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
        check(cli(*arguments), *parts)
        assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
        assert (tmp_path / "out.json").read_text() == "before"

    return run


def table(cases: dict[str, tuple[str, ...]]) -> pytest.MarkDecorator:
    """A test for each case, under its name."""
    return pytest.mark.parametrize("case", cases.values(), ids=cases.keys())


@table(WORKLOADS)
def test_a_workload_is_refused_for(
    case: tuple[str, ...], refused: Callable[..., None], tmp_path: Path
) -> None:
    old, new, *parts = case
    (tmp_path / "bad.yaml").write_text(replaced(WORKLOAD, old, new))
    refused(["simulate", "bad.yaml", "--output", "out.json"], "gpusim: bad.yaml: ", *parts)


@pytest.mark.parametrize("option", NO_OPTIONS)
def test_an_option_cannot_pass_for_an_argument(
    option: str, refused: Callable[..., None], tmp_path: Path
) -> None:
    text = replaced(WORKLOAD, "[flash2]", f"[{{name: flash2, {option}: x}}]")
    (tmp_path / "bad.yaml").write_text(text)
    refused(["simulate", "bad.yaml"], "bad.yaml", f"schedules[0].{option}: expected an option")


@table(PROFILES)
def test_a_profile_is_refused_for(
    case: tuple[str, ...], refused: Callable[..., None], tmp_path: Path
) -> None:
    old, new, *parts = case
    (tmp_path / "bad.yaml").write_text(replaced(PROFILE, old, new))
    refused(["hardware", "bad.yaml", "--output", "out.json"], "gpusim: bad.yaml: ", *parts)


@table(COMMANDS)
def test_a_command_is_refused_for(
    case: tuple[str, ...], refused: Callable[..., None], tmp_path: Path
) -> None:
    line, *parts = case
    (tmp_path / "bad.yaml").write_text("")
    refused(line.split(), *parts)


FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "expected a mapping of keys, found nothing"),
    "only a comment": (b"# name: x\n", "found nothing"),
    "only a dash": (b"---\n", "found nothing"),
    "a list": (b"- a\n- b\n", "found a list"),
    "a word": (b"hello\n", "found 'hello'"),
    "a number": (b"5\n", "found '5'"),
    "binary": (bytes(range(256)), "expected UTF-8 text, found binary data"),
    "UTF-16": ("name: x".encode("utf-16"), "expected UTF-8 text, found binary data"),
    "full of zeros": (bytes(100), "expected YAML, found"),
    "huge": (b"# " + b"x" * yaml_file.MAX_BYTES, "expected at most 4194304 bytes"),
}


@pytest.mark.parametrize(("content", "part"), FILES.values(), ids=FILES.keys())
@pytest.mark.parametrize("command", ["simulate", "hardware"])
def test_a_file_is_refused_that_is(
    command: str, content: bytes, part: str, refused: Callable[..., None], tmp_path: Path
) -> None:
    (tmp_path / "bad.yaml").write_bytes(content)
    refused([command, "bad.yaml"], "gpusim: bad.yaml: ", part)


def test_a_file_that_may_not_be_read_is_refused(
    refused: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *_: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "bad.yaml").write_text(WORKLOAD)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        with pytest.raises(SpecError, match=r"bad.yaml: expected a readable file.*denied"):
            load_workload(tmp_path / "bad.yaml")
        patch.setattr(Path, "is_file", refuse)
        with pytest.raises(SpecError, match=r"bad.yaml: expected a workload name.*denied"):
            load_workload(tmp_path / "bad.yaml")


def test_a_circle_of_profiles_is_refused(refused: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("extends: other.yaml\nname: bad\n")
    (tmp_path / "other.yaml").write_text("extends: bad.yaml\nname: other\n")
    refused(["hardware", "bad.yaml"], "other.yaml: extends: expected another profile", "circle")


def test_a_long_chain_of_profiles_is_refused(refused: Callable[..., None], tmp_path: Path) -> None:
    for i in range(20):
        (tmp_path / f"{i}.yaml").write_text(f"extends: {i + 1}.yaml\nname: '{i}'\n")
    refused(["hardware", "0.yaml"], ".yaml: extends: expected at most 8 profiles in a row")


def test_a_bad_profile_is_named_beside_the_workload(
    refused: Callable[..., None], tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text(replaced(PROFILE, "100", "0"))
    (tmp_path / "bad.yaml").write_text(replaced(WORKLOAD, "a100_sxm_80gb", "mine.yaml"))
    refused(["simulate", "bad.yaml"], "bad.yaml: gpus[0]: mine.yaml: sm.count: expected")


def test_a_failed_write_leaves_the_old_file_and_no_other(
    refused: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    refused(["hardware", "--output", "out.json"], "out.json: expected", "No space left")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["simulate", "bad.yaml", "--output", "out.json"], ("bad.yaml: ", "schedules[0].engine")),
        (["simulate", "nowhere.yaml"], ("nowhere.yaml: ", "expected")),
        (["occupancy", "--threads", "0", "--registers", "32"], ("--threads", "found 0")),
    ],
)
def test_the_program_itself_exits_with_2(
    arguments: list[str], parts: tuple[str, ...], tmp_path: Path
) -> None:
    text = replaced(WORKLOAD, "[flash2]", "[{name: flash2, engine: sim}]")
    (tmp_path / "bad.yaml").write_text(text)
    command = [sys.executable, "-c", "from gpusim.cli import main; main()", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    check(Outcome(done.returncode, done.stdout, done.stderr), *parts)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.yaml"]


VALID: dict[str, Any] = {
    "name": "x",
    "gpus": ["a100_sxm_80gb"],
    "schedules": ["flash2", {"name": "flash2", "block_m": 64}],
    "l2": "warm",
    "load": 0.5,
    "attention": {"q_heads": 8, "kv_heads": 2, "head_dim": 64, "dtype": "fp16", "window": None},
    "sequences": [{"count": 1, "q_len": 1, "kv_len": 9}],
}
VALID_PROFILE: dict[str, Any] = {
    "extends": "a100_sxm_80gb",
    "name": "x",
    "sm": {"count": {"value": 1, "kind": "estimated", "source": "none"}},
    "l2": {"hit_mib": {"value": 1.5, "kind": "measured", "source": "none"}},
}
WORDS = [*VALID, *VALID["attention"], *VALID_PROFILE, "count", "value", "kind", "provenance", "<<"]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(WORDS)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=3)
    ),
    max_leaves=8,
)


@st.composite
def mutations(draw: st.DrawFn, document: Any) -> Any:
    """A document with one value, somewhere in it, replaced, renamed or dropped."""
    if isinstance(document, dict) and document and draw(st.booleans()):
        key = draw(st.sampled_from(sorted(document)))
        rest = {k: v for k, v in document.items() if k != key}
        new = draw(st.sampled_from([key, key, key, *WORDS]))
        return rest | draw(st.just({}) | mutations(document[key]).map(lambda v: {new: v}))
    if isinstance(document, list) and document and draw(st.booleans()):
        return [*document[:-1], draw(mutations(document[-1]))]
    return draw(VALUES)


@pytest.mark.parametrize(("load", "valid"), [(load_workload, VALID), (load_gpu, VALID_PROFILE)])
@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_any_document_loads_or_is_refused(
    data: st.DataObject, load: Callable[[Path], object], valid: Any, tmp_path_factory: Any
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_text(json.dumps(data.draw(mutations(valid))))
    try:
        load(path)
    except SpecError as error:
        assert str(error).startswith(f"{path}: ")
        assert str(error).isprintable()


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(text=st.text(st.sampled_from("ab01:-?[]{},&*!|>'\"#%@ \n\t.<~")) | st.text())
def test_any_text_loads_or_is_refused(text: str, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_text(text, errors="replace")
    with pytest.raises(SpecError, match=r"fuzz.yaml"):
        load_workload(path)
