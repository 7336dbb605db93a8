"""The command line: what it prints, where it prints it, and from where it can be run."""

import csv
import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from conftest import Cli

from gpusim.cli import COMMANDS, main
from gpusim.schedules.catalogue import SCHEDULES
from gpusim.spec.load import shipped

SIMULATE = ("simulate", "llama3_8b_decode")
OUTPUTS = {
    "simulate": SIMULATE,
    "simulate analytic": (*SIMULATE, "--engine", "analytic"),
    "occupancy": ("occupancy", "--threads", "128", "--registers", "255", "--smem", "49152"),
    "hardware": ("hardware",),
    "one profile": ("hardware", "rtx_6000_ada"),
}
COMMAND = pytest.mark.parametrize("arguments", OUTPUTS.values(), ids=OUTPUTS.keys())


def test_help_lists_every_command(cli: Cli) -> None:
    outcome = cli("--help")
    assert (outcome.code, outcome.err) == (0, "")
    words = " ".join(outcome.out.split())
    for name, line in COMMANDS.items():
        assert f" {name} {line}" in words


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_every_command_has_help(name: str, flag: str, cli: Cli) -> None:
    outcome = cli(name, flag)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith(f"Usage: gpusim {name} ")
    assert "--output" in outcome.out


def test_the_version_is_printed(cli: Cli) -> None:
    assert cli("--version").out.startswith("gpusim, version ")


@COMMAND
def test_json_goes_to_stdout_alone_and_parses(arguments: tuple[str, ...], cli: Cli) -> None:
    outcome = cli(*arguments, "--format", "json")
    assert (outcome.code, outcome.err) == (0, "")
    rows = json.loads(outcome.out, parse_constant=pytest.fail)
    assert isinstance(rows, list)
    assert all(isinstance(row, dict) for row in rows)


@COMMAND
def test_csv_has_one_header_and_a_row_for_each_of_json(
    arguments: tuple[str, ...], cli: Cli
) -> None:
    outcome = cli(*arguments, "--format", "csv")
    header, *rows = csv.reader(outcome.out.splitlines())
    assert len(set(header)) == len(header)
    assert header not in rows
    assert {len(row) for row in rows} == {len(header)}
    assert len(rows) == len(json.loads(cli(*arguments, "--format", "json").out))


@COMMAND
@pytest.mark.parametrize("style", ["table", "json", "csv"])
def test_a_file_gets_the_bytes_that_stdout_would(
    arguments: tuple[str, ...], style: str, cli: Cli, tmp_path: Path
) -> None:
    command = (*arguments, "--format", style)
    quiet = cli(*command, "--output", "out")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")
    assert (tmp_path / "out").read_bytes() == cli(*command).out.encode()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("kind", ["workload", "plan", "sweep", "hardware"])
def test_a_schema_is_json(kind: str, cli: Cli, tmp_path: Path) -> None:
    outcome = cli("schema", kind)
    assert (outcome.code, outcome.err) == (0, "")
    assert json.loads(outcome.out)["type"] == "object"
    cli("schema", kind, "--output", "out")
    assert (tmp_path / "out").read_bytes() == outcome.out.encode()


def test_a_file_keeps_its_mode_and_a_link_its_target(cli: Cli, tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("before")
    target.chmod(0o640)
    link.symlink_to(target)
    assert cli("hardware", "--output", "link").code == 0
    assert link.is_symlink()
    assert target.read_text() == cli("hardware").out
    assert target.stat().st_mode & 0o777 == 0o640


def test_names_are_found_from_another_folder(cli: Cli) -> None:
    outcome = cli(*SIMULATE, "--gpu", "l40s", "--schedule", "flash2", "--format", "json")
    (row,) = json.loads(outcome.out)
    assert (row["gpu"], row["schedule"]) == ("l40s", "flash2")


def test_every_shipped_workload_is_known_by_name(cli: Cli) -> None:
    outcome = cli("simulate", *shipped("workloads"), "--engine", "analytic", "--format", "json")
    assert outcome.code == 0
    assert len({row["workload"] for row in json.loads(outcome.out)}) == len(shipped("workloads"))


def test_a_workload_and_a_profile_of_the_users_own(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("extends: l40s\nname: my [/card]\n")
    (tmp_path / "work.yaml").write_text(
        "name: on [/bold]\n"
        "gpus: [mine.yaml]\n"
        "schedules: [{name: flash2, block_m: 64}]\n"
        "attention: {q_heads: 8, kv_heads: 8, head_dim: 64}\n"
        "sequences: [{q_len: 128, kv_len: 128}]\n"
    )
    outcome = cli("simulate", "work.yaml")
    assert (outcome.code, outcome.err) == (0, "")
    assert "on [/bold]" in outcome.out
    assert "my [/card]" in outcome.out


def test_a_schedule_that_cannot_take_the_workload_is_left_out_on_stderr(
    cli: Cli, tmp_path: Path
) -> None:
    (tmp_path / "work.yaml").write_text(
        "name: fp8 cache\n"
        "gpus: [a100_sxm_80gb, h100_sxm]\n"
        "attention: {q_heads: 8, kv_heads: 8, head_dim: 64, kv_dtype: fp8}\n"
        "sequences: [{q_len: 1, kv_len: 128}]\n"
    )
    outcome = cli("simulate", "work.yaml", "--format", "json")
    assert outcome.code == 0
    assert {row["gpu"] for row in json.loads(outcome.out)} == {"h100_sxm"}
    lines = outcome.err.splitlines()
    assert all(line.startswith("left out: ") for line in lines)
    assert sum(line.startswith("left out: a100_sxm_80gb, ") for line in lines) == len(SCHEDULES)


def test_the_program_is_installed_as_gpusim() -> None:
    (program,) = entry_points(group="console_scripts", name="gpusim")
    assert program.load() is main


def test_the_program_prints_json_from_another_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from gpusim.cli import main; main()", *SIMULATE]
    command += ["--format", "json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)
    assert done.stderr == ""
