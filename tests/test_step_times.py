"""Step times for serving: the interpolation by hand, and against direct predictions."""

import pickle
import random
from math import sqrt
from statistics import median

import pytest

import gpusim
from gpusim.errors import SpecError
from gpusim.spec.attention import Sequence
from gpusim.spec.load import load_gpu
from gpusim.spec.load_model import load_model
from gpusim.study.deployment import Deployment
from gpusim.study.log_grid import LogGrid, spaced
from gpusim.study.step_times import StepTimes

Step = tuple[int, int, int, int]

#: Limits on median and 90th percentile of |interpolated / direct - 1| over random steps of a kind.
LIMITS = {"decode": (0.01, 0.05), "chunk": (0.01, 0.06), "both": (0.03, 0.09)}
CONFIGURATIONS = {
    "llama3_1_8b": ("h100_sxm", "vllm_flash_attn_3", 1),
    "llama3_1_70b": ("a100_sxm_80gb", "vllm_flash_attn_2", 4),
    "mixtral_8x7b": ("l40s", "flash2_split_kv", 4),
}


def test_a_power_is_interpolated_exactly() -> None:
    grid = LogGrid([[1, 2, 8], [1, 64]], lambda points: [a**2 * sqrt(b) for a, b in points])
    for a, b in ((1, 1), (3, 5), (8, 64), (1.5, 2), (20, 100)):  # the last lies beyond the grid
        assert grid.at(a, b) == pytest.approx(a**2 * sqrt(b))
    assert grid.at(0.5, 0.1) == pytest.approx(1)


def test_a_point_between_two_is_their_geometric_mean() -> None:
    values = {1: 2.0, 4: 8.0, 16: 9.0}
    grid = LogGrid([list(values)], lambda points: [values[int(x)] for (x,) in points])
    assert grid.at(2) == pytest.approx(sqrt(2 * 8))
    assert grid.at(8) == pytest.approx(sqrt(8 * 9))
    assert grid.at(4) == pytest.approx(8)


def test_a_clamped_grid_ends_at_its_last_value() -> None:
    grid = LogGrid([[1, 4], [1]], lambda points: [a * b for a, b in points], clamped=True)
    assert grid.at(100, 100) == pytest.approx(4)


def test_points_are_evenly_spaced() -> None:
    assert spaced(1) == [1]
    assert spaced(100) == [1, 2, 4, 8, 16, 32, 64, 128]
    assert spaced(8, 2) == [1, 2, 3, 4, 6, 8]


@pytest.fixture(scope="module")
def times() -> dict[str, StepTimes]:
    """Each configuration's, made once."""
    return {
        name: StepTimes(
            load_model(name), load_gpu(gpu), schedule, tensor_parallel=tp, overhead_us=200.0
        )
        for name, (gpu, schedule, tp) in CONFIGURATIONS.items()
    }


def interpolated(times: StepTimes, step: Step) -> float:
    """Step time as serving asks for it; a step is (batch, context, chunk, its context)."""
    batch, kv, chunk, context = step
    return times.step_us(
        decode_batch=batch,
        decode_kv_tokens=batch * kv,
        prefill_tokens=chunk,
        prefill_kv_tokens=context,
    )


def direct(name: str, step: Step) -> float:
    """The same by a forward pass of its own."""
    gpu, schedule, tp = CONFIGURATIONS[name]
    batch, kv, chunk, context = step
    sequences = [Sequence(count=batch, q_len=1, kv_len=kv)] if batch else []
    sequences += [Sequence(q_len=chunk, kv_len=context)] if chunk else []
    return gpusim.forward_pass(
        name,
        sequences,
        gpu,
        schedule,
        tensor_parallel=tp,
        engine="analytic",
        overhead_us=200.0,
    ).time_us


def steps(kind: str, count: int, seed: int) -> list[Step]:
    """Random steps: batches to 256, contexts to 16k, chunks to 4096, with and without a prefix."""
    draw, found = random.Random(seed), []
    for _ in range(count):
        batch = int(2 ** draw.uniform(0, 8)) if kind != "chunk" else 0
        kv = int(2 ** draw.uniform(6, 14)) if batch else 0
        chunk = int(2 ** draw.uniform(5, 12)) if kind != "decode" else 0
        prefix = draw.choice((0, int(2 ** draw.uniform(5, 14)))) if chunk else 0
        found.append((batch, kv, chunk, chunk + prefix))
    return found


@pytest.mark.parametrize("kind", ["decode", "chunk", "both"])
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_interpolated_steps_are_close_to_direct_ones(
    name: str, kind: str, times: dict[str, StepTimes]
) -> None:
    errors = sorted(
        abs(interpolated(times[name], step) / direct(name, step) - 1)
        for step in steps(kind, 20, seed=7)
    )
    most, most_90 = LIMITS[kind]
    assert median(errors) < most
    assert errors[17] < most_90


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_steps_on_the_grid_are_those_predicted(name: str, times: dict[str, StepTimes]) -> None:
    for step in ((8, 1024, 0, 0), (64, 4096, 0, 0), (0, 0, 512, 512), (0, 0, 2048, 2048)):
        assert interpolated(times[name], step) == pytest.approx(direct(name, step), rel=1e-6)


def test_steps_take_longer_with_more_to_do(times: dict[str, StepTimes]) -> None:
    for found in times.values():
        contexts = [interpolated(found, (32, kv, 0, 0)) for kv in range(100, 20000, 500)]
        assert contexts == sorted(contexts)
        prefixes = [interpolated(found, (0, 0, 512, 512 + n)) for n in range(0, 20000, 500)]
        assert prefixes == sorted(prefixes)


def test_overhead_is_part_of_every_step(times: dict[str, StepTimes]) -> None:
    assert all(found.overhead_us == 200 for found in times.values())
    bare, slow = (
        StepTimes(
            load_model("llama3_2_3b"),
            load_gpu("l40s"),
            "flash2",
            overhead_us=overhead_us,
            max_chunk=64,
            max_batch=8,
            max_context=1024,
        )
        for overhead_us in (0.0, 500.0)
    )
    step = (4, 250, 0, 0)
    assert interpolated(slow, step) == pytest.approx(interpolated(bare, step) + 500)


def test_processes_get_steps_that_need_no_more_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each task of a plan unpickles its own: what that had to predict would be lost with it."""
    times = StepTimes(
        load_model("llama3_2_3b"),
        load_gpu("l40s"),
        "flash2",
        max_chunk=300,
        max_batch=8,
        max_context=1024,
    )
    copy = pickle.loads(pickle.dumps(times))

    def refuse(*_: object) -> None:
        raise AssertionError("predicted once more")

    for name in ("attention", "layers", "head", "embedding"):
        monkeypatch.setattr(Deployment, name, refuse)
    for tokens in range(1, 301):
        batch = min(8, tokens)
        step = (batch, 100, tokens - batch, 200 + tokens if tokens > batch else 0)
        assert interpolated(copy, step) == interpolated(times, step) > 0


def test_requests_of_a_few_tokens_have_steps_too() -> None:
    short, long = (
        StepTimes(
            load_model("llama3_2_3b"),
            load_gpu("l40s"),
            "flash2",
            max_chunk=1,
            max_batch=1,
            max_context=most,
        )
        for most in (1, 16)
    )
    assert interpolated(short, (1, 1, 0, 0)) == interpolated(long, (1, 16, 0, 0)) > 0


def test_nothing_to_do_is_no_step(times: dict[str, StepTimes]) -> None:
    with pytest.raises(ValueError, match="found neither"):
        interpolated(times["llama3_1_8b"], (0, 0, 0, 0))


def test_a_model_without_decode_is_refused() -> None:
    with pytest.raises(SpecError, match="latent cache"):
        StepTimes(load_model("deepseek_v3"), load_gpu("h100_sxm"), "flash3", tensor_parallel=8)
