"""Known results: found by all that they depend on, and whole whoever writes beside."""

import json
from pathlib import Path
from typing import Any

import pytest

from gpusim.errors import SpecError
from gpusim.study import model_version as versions
from gpusim.study.cache import Cache, key_of
from gpusim.study.model_version import model_version
from gpusim.study.processes import Processes


def test_a_key_is_of_contents_not_of_their_order() -> None:
    assert key_of({"a": 1, "b": {"c": 2, "d": 3}}) == key_of({"b": {"d": 3, "c": 2}, "a": 1})
    others: list[dict[str, Any]] = [{"a": 1}, {"a": 2}, {"a": "1"}, {"a": 1.5}, {"b": 1}, {}]
    assert len({key_of(inputs) for inputs in others}) == len(others)


def test_what_was_put_is_got_again_exactly(tmp_path: Path) -> None:
    cache, result = Cache(tmp_path / "new" / "folder"), {"time_us": 0.1 + 0.2, "bound": "hbm"}
    key = key_of({"a": 1})
    assert cache.get(key) is None
    cache.put(key, result)
    assert Cache(cache.folder).get(key) == result
    assert cache.get(key_of({"a": 2})) is None


def test_others_who_share_the_folder_can_read_a_result(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    Cache(tmp_path / "cache").put(key_of({"a": 1}), {"time_us": 1.0})
    (file,) = tmp_path.rglob("*.json")
    assert file.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("content", ["", '{"key": "x", "result"', "[]", '{"key": "x"}', "\x00"])
def test_a_damaged_file_counts_as_no_result(content: str, tmp_path: Path) -> None:
    cache, key = Cache(tmp_path), key_of({"a": 1})
    cache.put(key, {"time_us": 1.0})
    (file,) = tmp_path.rglob("*.json")
    file.write_text(content)
    assert cache.get(key) is None
    cache.put(key, {"time_us": 1.0})
    assert cache.get(key) == {"time_us": 1.0}


def test_a_result_under_the_wrong_name_is_not_taken(tmp_path: Path) -> None:
    cache, key, other = Cache(tmp_path), key_of({"a": 1}), key_of({"a": 2})
    cache.put(key, {"time_us": 1.0})
    (file,) = tmp_path.rglob("*.json")
    place = tmp_path / other[:2] / f"{other}.json"
    place.parent.mkdir(exist_ok=True)
    file.rename(place)
    assert cache.get(other) is None


def write_all(task: tuple[str, int]) -> int:
    """Write the same results as others do, and count what is read that is not whole."""
    folder, writer = task
    cache, damaged = Cache(folder), 0
    for i in range(60):
        key = key_of({"i": i % 6})
        found = cache.get(key)
        damaged += found is not None and found != {"i": i % 6, "text": "x" * 5000}
        cache.put(key, {"i": i % 6, "text": "x" * 5000})
    for file in Path(folder).rglob("*.json"):
        json.loads(file.read_text())
    return damaged + 0 * writer


def test_parallel_writers_of_the_same_keys_leave_whole_results(tmp_path: Path) -> None:
    with Processes(2) as pool:
        assert list(pool.map(write_all, [(str(tmp_path), i) for i in range(6)])) == [0] * 6
    assert len(list(tmp_path.rglob("*.json"))) == 6
    assert not list(tmp_path.rglob("*.part"))


def test_a_folder_that_cannot_be_made_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecError, match="expected a folder to write to, found"):
        Cache(tmp_path / "file" / "inside")


def test_the_version_follows_the_model_but_not_how_results_are_drawn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "gpusim"
    for name in ("sim/engine.py", "report/table.py", "cli/main.py"):
        (package / name).parent.mkdir(parents=True)
        (package / name).write_text("1")
    monkeypatch.setattr(versions, "_PACKAGE", package)

    def version() -> str:
        model_version.cache_clear()
        return model_version()

    try:
        before = version()
        assert before == version()
        (package / "report/table.py").write_text("2")
        assert version() == before
        (package / "sim/engine.py").write_text("2")
        assert version() != before
    finally:
        model_version.cache_clear()
