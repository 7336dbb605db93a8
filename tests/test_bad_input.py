"""Bad input ends with status 2 and one line that says where it is; nothing is written."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bad_inputs import COMMANDS, FILES, PROFILE, PROFILES
from bad_plans import PLAN, PLANS
from bad_workloads import NO_OPTIONS, WORKLOAD, WORKLOADS
from conftest import Cli, Outcome

from gpusim.errors import SpecError
from gpusim.spec.load import load_workload


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


@table(PLANS)
def test_a_plan_is_refused_for(
    case: tuple[str, ...], refused: Callable[..., None], tmp_path: Path
) -> None:
    old, new, *parts = case
    (tmp_path / "bad.yaml").write_text(replaced(PLAN, old, new))
    refused(["plan", "bad.yaml", "--output", "out.json"], "gpusim: bad.yaml: ", *parts)


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


@pytest.mark.parametrize(("content", "part"), FILES.values(), ids=FILES.keys())
@pytest.mark.parametrize("command", ["simulate", "hardware"])
def test_a_file_is_refused_that_is(
    command: str, content: bytes, part: str, refused: Callable[..., None], tmp_path: Path
) -> None:
    (tmp_path / "bad.yaml").write_bytes(content)
    refused([command, "bad.yaml"], "gpusim: bad.yaml: ", part)


def test_a_file_that_may_not_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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


def test_a_mistake_in_a_base_is_reported_there(
    refused: Callable[..., None], tmp_path: Path
) -> None:
    (tmp_path / "base.yaml").write_text(replaced(PROFILE, "99", "0"))
    (tmp_path / "top.yaml").write_text("extends: base.yaml\nname: top\n")
    refused(["hardware", "top.yaml"], "gpusim: base.yaml: sm.count: expected at least 1, found 0")


def test_a_bad_profile_is_named_beside_the_workload(
    refused: Callable[..., None], tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text(replaced(PROFILE, "99", "0"))
    (tmp_path / "bad.yaml").write_text(replaced(WORKLOAD, "a100_sxm_80gb", "mine.yaml"))
    refused(["simulate", "bad.yaml"], "bad.yaml: gpus[0]: mine.yaml: sm.count: expected")


def test_a_failed_write_leaves_the_old_file_and_no_other(
    refused: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Path) -> Path:
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
