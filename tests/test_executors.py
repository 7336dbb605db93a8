"""Executors give outcomes in order, take few tasks ahead, and survive workers that are killed."""

import faulthandler
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from multiprocessing import connection
from pathlib import Path
from typing import Any

import pytest

from gpusim.errors import SpecError
from gpusim.spec.yaml_file import read_mapping
from gpusim.study import executors, processes
from gpusim.study.executors import InProcess, executor
from gpusim.study.processes import MAX_DEATHS, ONE_THREAD, Processes


def doubled(number: int) -> int:
    """A task that takes the longer the smaller it is."""
    time.sleep(0.02 / (1 + number))
    return 2 * number


def killed_once(folder: str) -> int:
    """A task that kills its worker the first time."""
    marker = Path(folder) / "killed"
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def half_said(folder: str) -> int:
    """A task whose worker says half of its first answer and no more; a second one is killed then.

    The folder has a file for each time that it happened.
    """
    times = len(list(Path(folder).iterdir()))
    send = connection.Connection._send  # type: ignore[attr-defined]

    def half(self: Any, answer: bytes) -> None:
        send(self, answer[: len(answer) // 2])
        (Path(folder) / str(times)).touch()
        if times:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(3600)

    if times < 2:
        connection.Connection._send = half  # type: ignore[attr-defined]
    return os.getpid()


def killed(_: int) -> None:
    """A task that kills its worker every time."""
    os.kill(os.getpid(), signal.SIGKILL)


def refused(number: int) -> int:
    """A task that refuses one number."""
    if number == 3:
        raise SpecError("no 3")
    return number


def environment(name: str) -> str | None:
    """What a worker's environment says."""
    return os.environ.get(name)


def counted(taken: list[int], count: int) -> Iterator[int]:
    """Tasks that note when they are taken."""
    for number in range(count):
        taken.append(number)
        yield number


@pytest.mark.parametrize("workers", [1, 2])
def test_outcomes_come_in_the_order_of_the_tasks(workers: int) -> None:
    with executor(workers) as pool:
        assert list(pool.map(doubled, range(40))) == list(range(0, 80, 2))


def test_one_worker_is_this_process() -> None:
    assert isinstance(executor(1), InProcess)
    assert isinstance(executor(2), Processes)


@pytest.mark.parametrize(("workers", "ahead"), [(1, 1), (2, 2 * processes.AHEAD)])
def test_only_a_few_tasks_are_taken_ahead(workers: int, ahead: int) -> None:
    taken: list[int] = []
    with executor(workers) as pool:
        for done, _ in enumerate(pool.map(doubled, counted(taken, 50)), start=1):
            assert len(taken) < done + ahead
    assert len(taken) == 50


def test_a_worker_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    with Processes(2) as pool:
        tasks = [str(tmp_path)] * 12
        assert len(list(pool.map(killed_once, tasks))) == 12
    assert (tmp_path / "killed").exists()


@pytest.fixture
def _in_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """End the tests, and say where they were, where a wait has no end."""
    monkeypatch.setattr(processes, "LOOK_S", 0.1)
    faulthandler.dump_traceback_later(60, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.mark.usefixtures("_in_time")
def test_an_interrupted_run_ends_while_a_worker_says_its_answer(tmp_path: Path) -> None:
    threading.Thread(target=_interrupted_by, args=(tmp_path / "0",)).start()
    with pytest.raises(KeyboardInterrupt), Processes(1) as pool:
        next(pool.map(half_said, [str(tmp_path)]))


def _interrupted_by(file: Path) -> None:
    """Send this process what Ctrl-C sends once a file is there."""
    while not file.exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.usefixtures("_in_time")
def test_a_worker_that_is_killed_while_it_says_its_answer_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "0").touch()
    with Processes(2) as pool:
        assert len(list(pool.map(half_said, [str(tmp_path)] * 6))) == 6
    assert (tmp_path / "1").exists()


def test_workers_that_are_killed_again_and_again_are_given_up() -> None:
    with (
        Processes(1) as pool,
        pytest.raises(SpecError, match=f"killed {MAX_DEATHS + 1} times in a row"),
    ):
        list(pool.map(killed, range(3)))


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_a_task_is_raised_in_its_turn(workers: int) -> None:
    found: list[int] = []
    with pytest.raises(SpecError, match="no 3"), executor(workers) as pool:
        found.extend(pool.map(refused, range(10)))
    assert found == [0, 1, 2]


def test_workers_have_one_thread_each_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    before = dict(os.environ)
    with Processes(1) as pool:
        found = dict(zip(ONE_THREAD, pool.map(environment, ONE_THREAD), strict=True))
    assert (found["OMP_NUM_THREADS"], found["OPENBLAS_NUM_THREADS"]) == ("3", "1")
    assert dict(os.environ) == before


def test_a_scheduler_that_is_not_there_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = pytest.importorskip("gpusim.study.cluster")
    pytest.importorskip("distributed")
    monkeypatch.setattr(cluster, "TIMEOUT_S", 0.2)
    for address in ("tcp://127.0.0.1:1", "nonsense://x"):
        with pytest.raises(SpecError, match="--cluster: expected the address of a Dask scheduler"):
            executor(1, address)


@pytest.mark.parametrize("address", ["nonsense", "tcp://127.0.0.1:x", ""])
def test_for_an_address_that_is_none_no_client_is_made(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that cannot read its address holds the process up for a minute when it ends."""
    distributed = pytest.importorskip("distributed")

    def made(*_: object, **__: object) -> None:
        raise AssertionError("a client was made")

    monkeypatch.setattr(distributed, "Client", made)
    with pytest.raises(SpecError, match="--cluster: expected the address of a Dask scheduler"):
        executor(1, address)


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(SpecError, match=r"pip install 'gpusim\[cluster\]'"):
        executor(1, "tcp://127.0.0.1:1")


def blocks(language: str) -> list[str]:
    """Code of a language on the page about clusters."""
    page = Path(executors.__file__).with_name("CLUSTER.md").read_text(encoding="utf-8")
    return [part.partition("```")[0] for part in page.split(f"```{language}\n")[1:]]


def test_the_page_about_clusters_has_code_that_parses(tmp_path: Path) -> None:
    (manifest,), (script,), (program,) = (blocks(name) for name in ("yaml", "bash", "python"))
    (tmp_path / "cluster.yaml").write_text(manifest)
    spec = read_mapping(tmp_path / "cluster.yaml")["spec"]
    ports = {port["name"] for port in spec["scheduler"]["spec"]["containers"][0]["ports"]}
    assert {port["targetPort"] for port in spec["scheduler"]["service"]["ports"]} == ports
    compile(program, "page", "exec")
    if bash := shutil.which("bash"):
        assert subprocess.run([bash, "-n"], input=script.encode(), check=False).returncode == 0
