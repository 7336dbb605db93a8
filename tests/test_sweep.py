"""Runs of sweeps: the same file from any workers, resumed after any end, and never two writers."""

import csv
import json
import os
import pkgutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli
from dask_cluster import local_cluster

import gpusim.cli.sweep as lines
from gpusim.errors import SpecError
from gpusim.schedules.catalogue import SCHEDULES
from gpusim.spec.load import load_gpu
from gpusim.spec.load_model import load_model
from gpusim.spec.model_workload import ModelWorkload
from gpusim.spec.sweep import Sweep
from gpusim.spec.workload import Workload
from gpusim.study import sweep_chunk
from gpusim.study.predict import predict
from gpusim.study.simulate import simulate
from gpusim.study.sweep import CHUNK, run_plan, run_sweep
from gpusim.study.sweep_build import build_plan
from gpusim.study.sweep_columns import columns_of, result_columns, result_values
from gpusim.study.sweep_file import SweepFile

#: Eight GPUs, six schedules, and shapes of decode and prefill; some points fail, some are left out.
SWEEP = """\
engine: analytic
workload:
  attention: {q_heads: 8, kv_heads: 2, head_dim: 64}
  sequences: [{count: 2, q_len: 1, kv_len: 512}]
product:
  gpu: [a100_sxm_80gb, a100_sxm_40gb, a100_pcie_80gb, h100_sxm, h100_pcie, h200_sxm,
        rtx_6000_ada, l40s]
  schedule: [standard, flash2, {name: flash2, block_m: 64}, flash2_split_kv, flash3_fp8, lean]
  l2: [cold, warm]
  load: [benchmark, steady]
  sequences[0].q_len: [1, 256]
  sequences[0].kv_len: {from: 128, to: 1024, points: 7, scale: log, multiple_of: 16}
zip:
  - attention.head_dim: [64, 100, 128]
    attention.kv_heads: [8, 8, 2]
where:
  - sequences[0].q_len <= sequences[0].kv_len
"""
COMMAND = [sys.executable, "-c", "from gpusim.cli import main\nif __name__ == '__main__': main()"]
#: Of the 8·6·4·2·7·3 combinations, 256 queries do not fit 2 of the 7 lengths (128 and 176).
ROWS = 8 * 6 * 4 * (7 + 5) * 3


@pytest.fixture
def sweep_file(tmp_path: Path) -> Path:
    """The sweep."""
    file = tmp_path / "sweep.yaml"
    file.write_text(SWEEP)
    return file


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The rows of the sweep from one process, at once."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "sweep.yaml").write_text(SWEEP)
    subprocess.run([*COMMAND, *arguments(folder, "1")], check=True, capture_output=True)
    return (folder / "rows.csv").read_bytes()


def arguments(folder: Path, workers: str) -> list[str]:
    """Arguments of the command."""
    files = [str(folder / "sweep.yaml"), "--output", str(folder / "rows.csv")]
    return ["sweep", *files, "--workers", workers]


def rows_of(content: bytes) -> list[dict[str, str]]:
    """Rows of a CSV by column."""
    return list(csv.DictReader(content.decode().splitlines()))


def small(**parts: Any) -> Sweep:
    """A sweep of a few points."""
    base = {
        "name": "small",
        "gpus": ["l40s", "h100_sxm"],
        "schedules": ["flash2"],
        "attention": {"q_heads": 8, "kv_heads": 2, "head_dim": 64},
        "sequences": [{"count": 2, "q_len": 1, "kv_len": 512}],
    }
    return Sweep.model_validate({"workload": base, "engine": "analytic"} | parts)


def interrupted(folder: Path, workers: str, number: signal.Signals) -> int:
    """Start the command, send it a signal once it has written rows, and return its status."""
    process = subprocess.Popen(
        [*COMMAND, *arguments(folder, workers)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    wait_for(lambda: lines_in(folder / "rows.csv") > 100)
    process.send_signal(number)
    return process.wait(timeout=60)


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("expected it to happen within a minute")


def lines_in(file: Path) -> int:
    """Complete lines of a file that may not be there yet."""
    return file.read_bytes().count(b"\n") if file.exists() else 0


def test_rows_have_every_input_and_the_results_of_the_run(whole: bytes) -> None:
    rows = rows_of(whole)
    assert len(rows) == ROWS
    indices = [int(row["index"]) for row in rows]
    assert indices == sorted(set(indices))
    row = next(r for r in rows if r["schedule.block_m"] == "64" and not r["error"])
    workload = Workload.model_validate(
        {
            "attention": {
                "q_heads": int(row["attention.q_heads"]),
                "kv_heads": int(row["attention.kv_heads"]),
                "head_dim": int(row["attention.head_dim"]),
            },
            "sequences": [
                {name: int(row[f"sequences[0].{name}"]) for name in ("count", "q_len", "kv_len")}
            ],
        }
    )
    result = simulate(workload.attention, row["gpu"], row["schedule"], "analytic", block_m=64)
    assert float(row["time_us"]) == result.time_us
    assert row["bound"] == result.bound
    assert float(row["traffic.hbm_read_bytes"]) == result.totals()["traffic"]["hbm_read_bytes"]
    assert int(row["main.ctas"]) == result.main.ctas
    shares = [float(v) for name, v in row.items() if name.startswith("breakdown.")]
    assert sum(shares) == pytest.approx(1)


def test_a_point_that_fails_is_a_row_with_its_error(whole: bytes) -> None:
    failed = [row for row in rows_of(whole) if row["error"]]
    head_size = "attention.head_dim: expected a multiple of 8, found 100"
    assert {row["error"] for row in failed if row["attention.head_dim"] == "100"} == {head_size}
    others = {row["schedule"] for row in failed if row["attention.head_dim"] != "100"}
    assert others == {"flash3_fp8"}
    assert all(row["time_us"] == row["bound"] == "" for row in failed)


def test_two_processes_write_the_same_file_as_one(whole: bytes, sweep_file: Path, cli: Cli) -> None:
    outcome = cli(*arguments(sweep_file.parent, "2"), "--format", "json")
    assert outcome.code == 0
    assert (sweep_file.parent / "rows.csv").read_bytes() == whole
    found = json.loads(outcome.out)
    assert (found["rows"], found["resumed"], found["combinations"]) == (
        ROWS,
        0,
        8 * 6 * 4 * 2 * 7 * 3,
    )
    assert found["failed"] == sum(error["rows"] for error in found["errors"])


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_run_that_was_killed_goes_on_and_ends_with_the_same_file(
    workers: str, whole: bytes, sweep_file: Path, cli: Cli
) -> None:
    assert interrupted(sweep_file.parent, workers, signal.SIGKILL) == -signal.SIGKILL
    output = sweep_file.parent / "rows.csv"
    there = lines_in(output) - 1
    assert 0 < there < ROWS
    outcome = cli(*arguments(sweep_file.parent, "1"), "--format", "json")
    assert (outcome.code, json.loads(outcome.out)["resumed"]) == (0, there)
    assert output.read_bytes() == whole


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_whole_rows(
    number: signal.Signals, whole: bytes, sweep_file: Path, cli: Cli
) -> None:
    assert interrupted(sweep_file.parent, "2", number) == 130
    output = sweep_file.parent / "rows.csv"
    left = output.read_bytes()
    assert left.endswith(b"\n")
    assert whole.startswith(left)
    assert cli(*arguments(sweep_file.parent, "1")).code == 0
    assert output.read_bytes() == whole


def test_workers_end_with_a_command_that_is_killed(sweep_file: Path) -> None:
    if not Path("/proc/self/task").is_dir():
        pytest.skip("asks /proc for child processes")
    process = subprocess.Popen(
        [*COMMAND, *arguments(sweep_file.parent, "2")], stderr=subprocess.DEVNULL
    )
    wait_for(lambda: lines_in(sweep_file.parent / "rows.csv") > 1)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) >= 2
    process.kill()
    process.wait()
    wait_for(lambda: not any(alive(int(child)) for child in children))


def alive(process: int) -> bool:
    """Whether a process runs; one that has ended but was not asked for its status does not."""
    with suppress(FileNotFoundError, ProcessLookupError):
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z"
    return False


def test_a_dask_cluster_writes_the_same_file_also_when_a_worker_dies(
    whole: bytes, sweep_file: Path, cli: Cli
) -> None:
    pytest.importorskip("distributed")
    output = sweep_file.parent / "rows.csv"
    with local_cluster(sweep_file.parent, workers=2) as cluster:
        command = ["sweep", str(sweep_file), "--output", str(output)]
        address = cluster.address(2)
        assert cli(*command, "--cluster", address).code == 0
        assert output.read_bytes() == whole
        output.unlink()
        process = subprocess.Popen([*COMMAND, *command, "--cluster", address])
        wait_for(lambda: lines_in(output) > 1)
        cluster.processes[-1].kill()
        assert process.wait(timeout=120) == 0
        assert output.read_bytes() == whole


@pytest.mark.parametrize("cut", [1, 30, 200])
def test_a_torn_last_line_is_dropped(cut: int, whole: bytes, sweep_file: Path, cli: Cli) -> None:
    output = sweep_file.parent / "rows.csv"
    output.write_bytes(whole[:-cut])
    outcome = cli(*arguments(sweep_file.parent, "1"), "--format", "json")
    assert (outcome.code, output.read_bytes()) == (0, whole)
    assert json.loads(outcome.out)["rows"] == whole[-cut:].count(b"\n")


@pytest.mark.parametrize("length", [0, 3, 500])
def test_a_torn_header_is_begun_anew(length: int, tmp_path: Path) -> None:
    once, again = tmp_path / "once.csv", tmp_path / "again.csv"
    run_sweep(small(), once)
    again.write_bytes(once.read_bytes()[:length])
    assert run_sweep(small(), again).rows == 2
    assert again.read_bytes() == once.read_bytes()


def test_a_complete_run_adds_nothing(tmp_path: Path) -> None:
    output = tmp_path / "rows.csv"
    first = run_sweep(small(), output)
    before = output.read_bytes()
    again = run_sweep(small(), output)
    assert (first.rows, again.rows, again.resumed) == (2, 0, 2)
    assert output.read_bytes() == before


def test_two_writers_of_one_file_are_refused(sweep_file: Path, cli: Cli) -> None:
    output = sweep_file.parent / "rows.csv"
    with SweepFile(output, ["index", "sweep"], "x"):
        before = output.read_bytes()
        outcome = cli(*arguments(sweep_file.parent, "1"))
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err.count("\n") == 1
        assert "rows.csv: expected to be the only one that writes to it" in outcome.err
        assert output.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1,2\n", "found other columns"),
        (b"\x00\x01", "found other columns"),
        (b"", ""),
    ],
)
def test_another_file_is_not_written_over(content: bytes, message: str, tmp_path: Path) -> None:
    output = tmp_path / "rows.csv"
    output.write_bytes(content)
    if not message:
        assert run_sweep(small(), output).rows == 2
        return
    with pytest.raises(SpecError, match=message):
        run_sweep(small(), output)
    assert output.read_bytes() == content


def test_rows_of_another_sweep_or_model_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "rows.csv"
    run_sweep(small(), output)
    before = output.read_bytes()
    with pytest.raises(SpecError, match="found those of another, or of another version"):
        run_sweep(small(product={"l2": ["warm"]}), output)
    monkeypatch.setattr("gpusim.study.sweep_build.model_version", lambda: "other")
    with pytest.raises(SpecError, match="found those of another, or of another version"):
        run_sweep(small(), output)
    assert output.read_bytes() == before


def test_rows_out_of_order_are_refused(tmp_path: Path) -> None:
    output = tmp_path / "rows.csv"
    run_sweep(small(), output)
    content = output.read_bytes()
    output.write_bytes(content + content.splitlines(keepends=True)[1])
    with pytest.raises(SpecError, match="found a row out of order"):
        run_sweep(small(), output)


def test_a_worker_with_another_model_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_chunk, "model_version", lambda: "other")
    with pytest.raises(SpecError, match=r"workers: expected the model's version .*, found other"):
        run_sweep(small(), tmp_path / "rows.csv")


def test_a_schedule_that_is_computed_to_be_no_name_is_said_in_a_line(tmp_path: Path) -> None:
    run = run_sweep(small(derived={"schedule": "5"}), tmp_path / "rows.csv")
    assert run.errors == {"schedule.name: expected text, found 5": 2}


@pytest.mark.parametrize(
    "where", ["gpusim.study.sweep_chunk.call_of", "gpusim.analytic.engine.predict_problems"]
)
def test_a_failure_of_ours_costs_its_row_alone(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = pkgutil.resolve_name(where)

    def failing(given: Any, gpu: Any, *rest: Any, **options: Any) -> Any:
        if gpu.sm.count == load_gpu("l40s").sm.count:
            raise ZeroDivisionError("a\nb")
        return works(given, gpu, *rest, **options)

    monkeypatch.setattr(where, failing)
    output = tmp_path / "rows.csv"
    run = run_sweep(small(), output)
    assert (run.rows, run.errors.total()) == (2, 1)
    bad, good = rows_of(output.read_bytes())
    assert bad["error"] == "failed: ZeroDivisionError: a b"
    assert (good["error"], good["time_us"] != "") == ("", True)


def test_progress_is_told_of_all_combinations_from_where_a_run_goes_on(tmp_path: Path) -> None:
    from contextlib import contextmanager

    told: list[Any] = []

    @contextmanager
    def progress(total: int, done: int) -> Any:
        told.append((total, done))
        yield told.append

    lengths = {"from": 1, "to": 3 * CHUNK["analytic"] // 2 + 50, "step": 1}
    made = build_plan(small(product={"gpu": ["l40s"], "sequences[0].kv_len": lengths}))
    output = tmp_path / "rows.csv"
    run_plan(made, output, progress=progress)
    assert told == [(350, 0), 200, 150]
    lines = output.read_bytes().splitlines(keepends=True)
    output.write_bytes(b"".join(lines[:301]))
    run_plan(made, output, progress=progress)
    assert told[3:] == [(350, 300), 50]


def test_memory_holds_a_chunk_not_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tasks of a sweep of a billion points are made when their turn comes."""
    begun: list[int] = []
    real = sweep_chunk.run_chunk

    def first_three(task: Any) -> Any:
        begun.append(task.start)
        if len(begun) == 3:
            raise KeyboardInterrupt
        return real(task)

    monkeypatch.setattr("gpusim.study.sweep.run_chunk", first_three)
    many = {"from": 1, "to": 1000, "step": 1}
    lengths = {f"sequences[0].{name}": many for name in ("count", "kv_len")}
    made = build_plan(small(product={"gpu": ["l40s"], **lengths, "attention.page_size": many}))
    with pytest.raises(KeyboardInterrupt):
        run_plan(made, tmp_path / "rows.csv")
    assert begun == [0, 200, 400]
    assert len(rows_of((tmp_path / "rows.csv").read_bytes())) == 400


def test_known_results_are_taken_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    first = run_sweep(small(), tmp_path / "first.csv", cache=cache)
    assert (first.rows, first.cached) == (2, 0)
    # another sweep, with a point more, whose profile goes by another name
    wider = small(
        name="wider",
        profiles={"same": {"extends": "l40s"}},
        product={"gpu": ["l40s", "h100_sxm", "same"], "l2": ["cold", "warm"]},
    )
    second = run_sweep(wider, tmp_path / "second.csv", cache=cache)
    assert (second.rows, second.cached) == (6, 3)  # the cold ones
    plain = run_sweep(wider, tmp_path / "plain.csv")
    assert plain.cached == 0
    assert (tmp_path / "plain.csv").read_bytes() == (tmp_path / "second.csv").read_bytes()
    monkeypatch.setattr(sweep_chunk, "model_version", lambda: "other")
    monkeypatch.setattr("gpusim.study.sweep_build.model_version", lambda: "other")
    assert run_sweep(small(), tmp_path / "third.csv", cache=cache).cached == 0


def test_parquet_has_the_rows_of_the_csv(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from pandas import isna, read_parquet  # type: ignore[import-untyped]

    sweep = small(
        product={"sequences[0].kv_len": [64, 128], "attention.head_dim": [64, 100], "load": [0.5]}
    )
    run_sweep(sweep, tmp_path / "rows.csv")
    run_sweep(sweep, tmp_path / "rows.parquet")
    assert {path.name for path in tmp_path.iterdir()} == {"rows.csv", "rows.parquet"}
    table = read_parquet(tmp_path / "rows.parquet")
    rows = rows_of((tmp_path / "rows.csv").read_bytes())
    assert list(table.columns) == list(rows[0])
    kinds = columns_of(build_plan(sweep))
    for name, kind in kinds.items():
        texts = [row[name] for row in rows]
        if kind in ("int", "float"):
            numbers = [float(text) if text else None for text in texts]
            assert [None if isna(v) else float(v) for v in table[name]] == numbers, name
        elif kind == "text":
            assert [v if isinstance(v, str) else "" for v in table[name]] == texts, name
    before = (tmp_path / "rows.parquet").read_bytes()
    assert run_sweep(sweep, tmp_path / "rows.parquet").rows == 0
    assert (tmp_path / "rows.parquet").read_bytes() == before
    with pytest.raises(SpecError, match="found those of another"):
        run_sweep(small(), tmp_path / "rows.parquet")
    assert {path.name for path in tmp_path.iterdir()} == {"rows.csv", "rows.parquet"}


def test_a_number_of_more_than_64_bits_costs_its_row_alone(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from pandas import read_parquet

    sweep = small(product={"gpu": ["l40s"], "sequences[0].kv_len": [64, 10**20]})
    run = run_sweep(sweep, tmp_path / "rows.parquet")
    assert (run.rows, run.errors.total()) == (2, 1)
    table = read_parquet(tmp_path / "rows.parquet")
    assert list(table["sequences[0].kv_len"].notna()) == [True, False]
    assert "found 100000000000000000000" in table["error"][1]


def test_an_interrupted_parquet_holds_the_rows_so_far_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow")
    from pandas import read_parquet

    lengths = {"from": 1, "to": 500, "step": 1}
    sweep = small(product={"gpu": ["l40s"], "sequences[0].kv_len": lengths})
    once, output = tmp_path / "once.parquet", tmp_path / "rows.parquet"
    run_sweep(sweep, once)
    real = sweep_chunk.run_chunk

    def interrupting(task: Any) -> Any:
        if task.start == 400:
            raise KeyboardInterrupt
        return real(task)

    with monkeypatch.context() as patch:
        patch.setattr("gpusim.study.sweep.run_chunk", interrupting)
        with pytest.raises(KeyboardInterrupt):
            run_sweep(sweep, output)
    assert len(read_parquet(output)) == 400
    journal = tmp_path / "rows.parquet.csv"
    kept = journal.read_bytes()
    journal.unlink()
    with pytest.raises(SpecError, match=r"expected its rows in .*rows\.parquet\.csv to resume"):
        run_sweep(sweep, output)
    journal.write_bytes(kept)
    run = run_sweep(sweep, output)
    assert (run.resumed, run.rows) == (400, 100)
    assert output.read_bytes() == once.read_bytes()
    assert not journal.exists()


def test_models_vary_as_a_whole_and_in_their_shapes(tmp_path: Path) -> None:
    base = {
        "name": "step",
        "gpus": ["h100_sxm"],
        "schedules": ["flash2_split_kv"],
        "model": "llama3_1_8b",
        "sequences": [{"count": 8, "q_len": 1, "kv_len": 512}],
    }
    sweep = Sweep.model_validate(
        {
            "workload": base,
            "engine": "analytic",
            "product": {
                "model": ["llama3_1_8b", "qwen3_8b"],
                "tensor_parallel": [1, 3],
                "model.layers[0].count": [2, 4],
            },
        }
    )
    output = tmp_path / "rows.csv"
    run_sweep(sweep, output, cache=tmp_path / "cache")
    rows = rows_of(output.read_bytes())
    assert {row["error"] != "" for row in rows if row["tensor_parallel"] == "3"} == {True}
    done = [row for row in rows if row["tensor_parallel"] == "1"]
    assert [(row["model"], row["model.layers[0].count"]) for row in done] == [
        ("llama3_1_8b", "2"),
        ("llama3_1_8b", "4"),
        ("qwen3_8b", "2"),
        ("qwen3_8b", "4"),
    ]
    assert len({row["time_us"] for row in done}) == len({row["key"] for row in done}) == 4
    model = load_model("qwen3_8b").model_dump()
    model["layers"][0]["count"] = 4
    workload = ModelWorkload.model_validate(base | {"model": model})
    result = predict(workload, load_gpu("h100_sxm"), workload.schedules, engine="analytic").results[
        0
    ]
    assert float(done[-1]["time_us"]) == result.time_us
    assert result.step is not None
    assert float(done[-1]["model.weight_bytes"]) == result.step.weight_bytes
    shares = {k: float(v) for k, v in done[-1].items() if k.startswith("breakdown.")}
    assert {k: v for k, v in shares.items() if v} == {
        f"breakdown.{name}": share for name, share in result.breakdown.items() if share
    }
    again = run_sweep(sweep, tmp_path / "again.csv", cache=tmp_path / "cache")
    assert again.cached == 4


def test_launches_are_listed_where_asked_for(tmp_path: Path) -> None:
    output = tmp_path / "rows.csv"
    run_sweep(small(launches=True), output)
    (first, _) = rows_of(output.read_bytes())
    launches = json.loads(first["launches"])
    assert [launch["name"] for launch in launches] == [first["main.name"]]
    assert launches[0]["ctas"] == int(first["main.ctas"])


@pytest.mark.parametrize("engine", ["sim", "analytic"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_result_has_its_column(schedule: str, engine: str) -> None:
    """No engine names a cause of time that the columns do not have, and none stays unset."""
    document = {
        "attention": {"q_heads": 8, "kv_heads": 2, "head_dim": 128},
        "sequences": [{"count": 2, "q_len": 1, "kv_len": 2048}],
    }
    attention = Workload.model_validate(document).attention
    result = simulate(attention, "h100_sxm", schedule, engine)
    values = result_values(result, launches=False)
    assert values.keys() == result_columns().keys()
    assert sum(v for k, v in values.items() if k.startswith("breakdown.")) == pytest.approx(1)
    named = flat_names(result.as_dict()) - {"workload", "gpu", "schedule", "engine", "launches"}
    assert {name for name in named if not name.startswith("breakdown.")} <= values.keys()


def flat_names(row: dict[str, Any]) -> set[str]:
    """Columns of a run's JSON."""
    found = set()
    for key, value in row.items():
        found |= {f"{key}.{inner}" for inner in value} if isinstance(value, dict) else {key}
    return found


def test_the_output_is_needed_and_has_a_known_form(sweep_file: Path, cli: Cli) -> None:
    for given, found in ([], "none"), (["--output", "rows.txt"], "rows.txt"):
        outcome = cli("sweep", str(sweep_file), *given)
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err == (
            f"gpusim: --output: expected FILE.csv or FILE.parquet, found {found}\n"
        )
    assert [path.name for path in sweep_file.parent.iterdir()] == ["sweep.yaml"]


@pytest.mark.parametrize("style", ["table", "json", "csv"])
def test_the_summary_goes_to_standard_output(style: str, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "s.yaml").write_text(
        "engine: analytic\nworkload: llama3_8b_decode\n"
        "product: {gpu: [l40s], schedule: [flash2], attention.head_dim: [64, 100]}\n"
    )
    outcome = cli("sweep", "s.yaml", "--output", "rows.csv", "--workers", "1", "--format", style)
    assert outcome.code == 0
    reason = "attention.head_dim: expected a multiple of 8, found 100"
    if style == "json":
        found = json.loads(outcome.out)
        assert found["errors"] == [{"rows": 1, "reason": reason}]
        assert (found["rows"], found["failed"], found["cached"]) == (2, 1, 0)
    elif style == "csv":
        assert rows_of(outcome.out.encode())[0]["failed"] == "1"
        assert outcome.err == f"failed: 1 rows: {reason}\n"
    else:
        assert reason in outcome.out
        assert outcome.err == ""


def test_cluster_and_workers_exclude_one_another(sweep_file: Path, cli: Cli) -> None:
    outcome = cli(*arguments(sweep_file.parent, "2"), "--cluster", "tcp://127.0.0.1:1")
    assert outcome.code == 2
    assert "--workers: expected none beside --cluster" in outcome.err


def test_a_full_disk_leaves_whole_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "rows.csv"
    with SweepFile(output, ["index", "sweep"], "x") as file:
        file.append("0,x\n")
        before = output.read_bytes()

        class Full:
            """A file that takes half a line."""

            def __init__(self, real: Any) -> None:
                self.real = real

            def write(self, view: memoryview) -> int:
                self.real.write(view[:2])
                raise OSError(28, os.strerror(28))

            def __getattr__(self, name: str) -> Any:
                return getattr(self.real, name)

        with monkeypatch.context() as patch:
            patch.setattr(file, "_file", Full(file._file))
            with pytest.raises(SpecError, match=r"rows\.csv: .*found: No space left"):
                file.append("1,x\n")
        assert output.read_bytes() == before


def test_a_log_says_now_and_then_how_fast_it_goes_and_for_how_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Resumed at 100 of 1100: 30 in 60 s are one in two seconds, 970 more take 1940 s."""
    clock = iter([0.0, 10.0, 60.0])
    monkeypatch.setattr("gpusim.cli.sweep.time.monotonic", lambda: next(clock))
    progress = lines._Lines(1100, 100)
    progress.step(10)
    assert capsys.readouterr().err == ""
    progress.step(20)
    assert capsys.readouterr().err == "130 of 1100, 0.50 a second, 1,940 s left\n"
