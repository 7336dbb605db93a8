"""Bad profiles, commands and files: what is wrong with each, and what the message must have."""

from gpusim.spec import yaml_file

LEAF = "{value: 99, kind: estimated, source: a guess}"
PROFILE = f"""\
extends: a100_sxm_80gb
name: mine
sm:
  count: {LEAF}
"""

#: What is wrong: the text to replace in PROFILE, its replacement, and what the message has.
PROFILES = {
    "a number without source": (LEAF, "108", "sm.count: expected {value, kind, source}", "108"),
    "a leaf without source": (", source: a guess", "", "sm.count.source: expected a value"),
    "a leaf without kind": ("kind: estimated, ", "", "sm.count.kind: expected a value"),
    "a leaf without value": ("value: 99, ", "", "sm.count.value: expected a value"),
    "a misspelt part of a leaf": ("value:", "vlaue:", "sm.count.vlaue:", "'value'?"),
    "a misspelt kind": (
        "estimated",
        "estimeted",
        " sm.count.kind: expected 'datasheet', 'measured', 'calibrated' or 'estimated'",
        "mean 'estimated'?",
    ),
    "a source that is a number": ("a guess", "5", " sm.count.source: expected text, found 5"),
    "an empty source": ("a guess", "''", " sm.count.source: expected at least 3"),
    "text for a value": ("99", "'100'", "sm.count.value: expected a number, found '100'"),
    "true for a value": ("99", "true", "sm.count.value: expected a number, found true"),
    "null for a value": ("99", "~", "sm.count.value: expected a number, found null"),
    "a list for a value": ("99", "[1]", "sm.count.value: expected a number, found [1]"),
    "text for a leaf": (LEAF, "'108'", "sm.count: expected an integer, found '108'"),
    "null for a leaf": (LEAF, "~", "sm.count: expected an integer, found null"),
    "a list for a section": (f"\n  count: {LEAF}", " [1]", "sm: expected a mapping"),
    "null for a section": (f"\n  count: {LEAF}", "", "sm: expected a mapping, found null"),
    "a leaf for a section": (f"\n  count: {LEAF}", f" {LEAF}", "sm: expected a mapping"),
    "a leaf for text": ("name: mine", f"name: {LEAF}", "name: expected text, found 99"),
    "half an SM": ("99", "0.5", "sm.count: expected an integer, found 0.5"),
    "no SM": ("99", "0", "sm.count: expected at least 1, found 0"),
    "an SM less than none": ("99", "-1", "sm.count: expected at least 1, found -1"),
    "too many SMs": ("99", "1000000000", "sm.count: expected at most 4096"),
    "a misspelt number": ("count", "cuont", "sm.cuont: expected a known key", "'count'?"),
    "a misspelt section": ("sm:", "smm:", " smm: expected a known key"),
    "sources apart from values": ("sm:", "provenance: {}\nsm:", " provenance: expected"),
    "a value at the top": ("sm:", "value: 5\nsm:", " value: expected {value, kind, source}"),
    "a kind at the top": ("sm:", "kind: x\nsm:", " kind: expected a known key"),
    "a rate that is no number": (
        "sm:\n  count: {value: 99",
        "hbm:\n  peak_gb_per_s: {value: .nan",
        "hbm.peak_gb_per_s: expected",
        "nan",
    ),
    "a rate without end": (
        "sm:\n  count: {value: 99",
        "hbm:\n  peak_gb_per_s: {value: .inf",
        "hbm.peak_gb_per_s: expected",
        "inf",
    ),
    "a rate of next to nothing": (
        "sm:\n  count: {value: 99",
        "clock:\n  steady_mhz: {value: 1e-300",
        "clock.steady_mhz: expected at least 0.001",
    ),
    "a fraction above one": (
        "sm:\n  count: {value: 99",
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
        "sm:\n  count: {value: 99",
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

#: What is wrong: the arguments, and what the message has.
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

#: What a file is: its bytes, and what the message has.
FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "expected a mapping of keys, found nothing"),
    "only a comment": (b"# name: x\n", "found nothing"),
    "only a dash": (b"---\n", "found nothing"),
    "a list": (b"- a\n- b\n", "found a list"),
    "a word": (b"hello\n", "found 'hello'"),
    "a number": (b"5\n", "found '5'"),
    "binary": (bytes(range(256)), "expected UTF-8 text, found binary data"),
    "UTF-16": ("name: x".encode("utf-16"), "expected UTF-8 text, found binary data"),
    "full of zeros": (bytes(100), "expected valid YAML: "),
    "huge": (b"# " + b"x" * yaml_file.MAX_BYTES, f"expected at most {yaml_file.MAX_BYTES} bytes"),
}
