"""The fast loop against the event queue, and compiled against interpreted."""

from dataclasses import astuple

import pytest

from gpusim import Attention, Sequence, load_gpu
from gpusim.machine.place import place
from gpusim.machine.placed import Placed
from gpusim.schedules.catalogue import build_launches
from gpusim.sim import run
from gpusim.sim.launch_run import LaunchRun
from gpusim.sim.run import run_launch

RAGGED = (
    Sequence(count=3, q_len=700, kv_len=3000),
    Sequence(count=5, q_len=1, kv_len=9000),
    Sequence(count=1, q_len=2048, kv_len=2048),
)
EQUAL = (Sequence(count=16, q_len=2048, kv_len=2048),)
DECODE = (Sequence(count=32, q_len=1, kv_len=4096), Sequence(count=2, q_len=1, kv_len=70000))
CASES = [
    ("a100_sxm_80gb", "flash2", RAGGED),
    ("a100_sxm_80gb", "flash2_split_kv", DECODE),
    ("h100_sxm", "flash3", RAGGED),
    ("h100_sxm", "vllm_flash_attn_3", DECODE),
    ("l40s", "flash1", RAGGED),
    ("l40s", "standard", EQUAL),
]


def _launches(gpu: str, schedule: str, sequences: tuple[Sequence, ...]) -> list[Placed]:
    """Placed launches that wait for nobody."""
    profile = load_gpu(gpu)
    attention = Attention(q_heads=16, kv_heads=4, head_dim=128, sequences=sequences)
    launches = build_launches(schedule, attention, profile, {})
    placed = place(launches, profile, load="steady", warm=False)
    return [p for p in placed if p.launch.work.peers is None]


@pytest.mark.parametrize(("gpu", "schedule", "sequences"), CASES)
@pytest.mark.parametrize("merge", [True, False])
def test_the_loop_says_what_the_event_queue_says(
    gpu: str, schedule: str, sequences: tuple[Sequence, ...], merge: bool
) -> None:
    for placed in _launches(gpu, schedule, sequences):
        queue = LaunchRun(placed, merge=merge, trace=False)
        queue.execute()
        expected = astuple(queue.books())
        found = astuple(run_launch(placed, merge=merge))
        assert found == pytest.approx(expected, rel=1e-8, abs=1e-8 * expected[0])


@pytest.mark.parametrize(("gpu", "schedule", "sequences"), CASES)
def test_compiled_is_the_same_to_the_last_digit(
    gpu: str, schedule: str, sequences: tuple[Sequence, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba")
    for placed in _launches(gpu, schedule, sequences):
        monkeypatch.setattr(run, "_interpreted", 0)
        interpreted = run_launch(placed, merge=True)
        assert run._interpreted > 0
        monkeypatch.setattr(run, "_interpreted", run.COMPILE_AFTER)
        assert run_launch(placed, merge=True) == interpreted
        assert run._interpreted == run.COMPILE_AFTER  # it was compiled


def test_a_process_that_runs_little_compiles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> None:
        raise AssertionError("compiled")

    monkeypatch.setattr(run, "_interpreted", 0)
    monkeypatch.setattr(run, "compiled_loop", refused)
    (placed,) = _launches("a100_sxm_80gb", "flash2", EQUAL)
    assert run_launch(placed, merge=True).time_us > 0
