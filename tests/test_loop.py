"""The fast loop against the event queue, and compiled against interpreted."""

from dataclasses import astuple

import contracts
import pytest

from gpusim import Attention, Sequence, load_gpu
from gpusim.errors import SpecError
from gpusim.machine.place import place
from gpusim.machine.placed import Placed
from gpusim.schedules.catalogue import build_launches
from gpusim.sim import run
from gpusim.sim.books import Books
from gpusim.sim.launch_run import LaunchRun
from gpusim.sim.run import run_launch
from gpusim.spec.gpu import Gpu

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
    ("a100_sxm_80gb", "lean", DECODE),
    ("h100_sxm", "lean", RAGGED),
    ("rtx_6000_ada", "lean", EQUAL),
]


def _launches(gpu: str, schedule: str, sequences: tuple[Sequence, ...]) -> tuple[Placed, ...]:
    attention = Attention(q_heads=16, kv_heads=4, head_dim=128, sequences=sequences)
    return _placed(load_gpu(gpu), schedule, attention)


def _placed(gpu: Gpu, schedule: str, attention: Attention, **options: object) -> tuple[Placed, ...]:
    launches = build_launches(schedule, attention, gpu, options)
    return place(launches, gpu, load="steady", warm=False)


@pytest.mark.parametrize(("gpu", "schedule", "sequences"), CASES)
@pytest.mark.parametrize("merge", [True, False])
def test_the_loop_says_what_the_event_queue_says(
    gpu: str, schedule: str, sequences: tuple[Sequence, ...], merge: bool
) -> None:
    for placed in _launches(gpu, schedule, sequences):
        _is_what_the_event_queue_says(placed, merge=merge)


def _is_what_the_event_queue_says(placed: Placed, *, merge: bool) -> Books:
    queue = LaunchRun(placed, merge=merge, trace=False)
    queue.execute()
    expected, found = queue.books(), run_launch(placed, merge=merge)
    assert astuple(found) == pytest.approx(astuple(expected), rel=1e-8, abs=1e-8 * found.time_us)
    return found


@pytest.mark.parametrize("sms", [2, 3, 7])
@pytest.mark.parametrize("fixed_maximum", [False, True])
def test_workers_wait_for_ones_that_have_not_started(sms: int, fixed_maximum: bool) -> None:
    """One CTA fits on an SM here, the grid has two; of a sequence's longest plan some have none."""
    gpu = contracts.changed(load_gpu("rtx_6000_ada"), "sm", count=sms)
    for sequences in (RAGGED, DECODE, (Sequence(q_len=1, kv_len=30000),)):
        attention = Attention(q_heads=4, kv_heads=2, head_dim=128, sequences=sequences)
        (placed,) = _placed(gpu, "lean", attention, fixed_maximum=fixed_maximum)
        assert placed.launch.num_ctas > placed.lanes
        books = _is_what_the_event_queue_says(placed, merge=True)
        assert placed.launch.work.peers is not None
        assert (books.fix_up_us > 0) == placed.launch.work.peers.any()


@pytest.mark.parametrize("compile_after", [0, 10**9])
def test_a_worker_that_leaves_no_slot_for_its_peer_is_the_same_error(
    compile_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not compile_after:
        pytest.importorskip("numba")
    monkeypatch.setattr(run, "COMPILE_AFTER", compile_after)
    gpu = contracts.changed(load_gpu("rtx_6000_ada"), "sm", count=1)
    attention = Attention(q_heads=4, kv_heads=2, head_dim=128, sequences=DECODE)
    (placed,) = _placed(gpu, "lean", attention)
    with pytest.raises(SpecError) as of_queue:
        LaunchRun(placed, merge=True, trace=False).execute()
    with pytest.raises(SpecError) as of_loop:
        run_launch(placed, merge=True)
    assert str(of_loop.value) == str(of_queue.value)
    assert str(of_loop.value).endswith("one that runs waits for one that has not started")


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
