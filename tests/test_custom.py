"""Kernels described in a file: the same numbers as a built-in, and mistakes that are named."""

from pathlib import Path
from typing import Any

import contracts
import pytest
from conftest import Cli

from gpusim.errors import SpecError
from gpusim.schedules.catalogue import build_launches
from gpusim.spec.attention import Attention, Sequence
from gpusim.spec.formula import evaluate
from gpusim.spec.load import load_gpu, load_workload
from gpusim.study.simulate import simulate

A100, H100 = load_gpu("a100_sxm_80gb"), load_gpu("h100_sxm")
FLASH2_TRACK = [
    {"name": "qk", "tensor": "2*M*N*D", "shared_memory": "(W+1)*N*D*2 + M*D*2"},
    {"name": "exp2", "exp2": "M*N"},
    {"name": "pack", "convert": "M*N/2"},
    {"name": "scale", "fp32": "3*M*N + M*DV"},
    {"name": "pv", "tensor": "2*M*N*DV", "shared_memory": "(W+1)*N*DV*2"},
]
FLASH2 = {"block_m": 128, "block_n": 64, "num_warps": 4}


def prompt(causal: bool = True) -> Attention:
    """Two prompts of 2k, Llama-3 8B shapes."""
    return Attention(
        q_heads=32,
        kv_heads=8,
        head_dim=128,
        causal=causal,
        sequences=(Sequence(count=2, q_len=2048, kv_len=2048),),
    )


def decode() -> Attention:
    """A ragged decode batch."""
    sequences = tuple(Sequence(count=2, q_len=1, kv_len=n) for n in (70, 900, 5000))
    return Attention(q_heads=32, kv_heads=8, head_dim=128, sequences=sequences)


@pytest.mark.parametrize("engine", ["sim", "analytic"])
@pytest.mark.parametrize("tracks", [None, [FLASH2_TRACK]])
def test_flash2_written_as_a_kernel_is_flash2(engine: str, tracks: Any) -> None:
    kernel = FLASH2 | ({"tracks": tracks} if tracks else {})
    own = simulate(prompt(), A100, "mine", engine, kernel=kernel)
    built_in = simulate(prompt(), A100, "flash2", engine)
    assert own.time_us == built_in.time_us
    assert own.breakdown == built_in.breakdown


@pytest.mark.parametrize(
    "change",
    [
        {"assignment": "persistent"},
        {"assignment": "static", "order": "longest_first"},
        {"assignment": "stream_k"},
        {"pack_gqa": True},
        {"num_splits": 3},
        {"stages": 2, "num_warps": 8},
    ],
    ids=str,
)
@pytest.mark.parametrize("attention", [prompt(), decode()], ids=["prompt", "decode"])
def test_every_way_of_laying_out_work_keeps_the_contracts(
    attention: Attention, change: dict[str, Any]
) -> None:
    args = (attention, A100, "mine", {"kernel": FLASH2 | {"block_m": 64} | change})
    contracts.operands_ask_for_the_bytes_of_the_work_table(*args)
    for engine in ("sim", "analytic"):
        contracts.no_launch_beats_a_bound(*args, engine=engine, l2="cold")
        contracts.shares_are_shares_and_reruns_are_identical(*args, engine=engine, l2="cold")


def test_a_persistent_kernel_has_as_many_workers_as_fit() -> None:
    kernel = FLASH2 | {"assignment": "persistent"}
    (launch,) = build_launches("mine", prompt(), A100, {"kernel": kernel})
    assert launch.num_ctas == 2 * 108


def test_less_work_on_a_pipe_is_never_slower() -> None:
    cheap = [part | ({"exp2": "M*N/2"} if part["name"] == "exp2" else {}) for part in FLASH2_TRACK]
    before = simulate(prompt(), A100, "mine", kernel=FLASH2 | {"tracks": [FLASH2_TRACK]})
    after = simulate(prompt(), A100, "mine", kernel=FLASH2 | {"tracks": [cheap]})
    assert after.time_us < before.time_us


def test_two_tracks_overlap_more_than_one() -> None:
    half = [{k: v if k == "name" else f"({v})/2" for k, v in part.items()} for part in FLASH2_TRACK]
    one = simulate(prompt(), H100, "one", kernel=FLASH2 | {"tracks": [FLASH2_TRACK]})
    two = simulate(
        prompt(), H100, "two", kernel=FLASH2 | {"tracks": [half, half], "ping_pong": True}
    )
    assert two.time_us < one.time_us


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        ({"block_n": 64, "num_warps": 4}, "schedule.kernel.block_m: expected a value"),
        (FLASH2 | {"blockn": 3}, "schedule.kernel.blockn"),
        (FLASH2 | {"block_m": 100}, "a multiple of 16"),
        (FLASH2 | {"assignment": "streamk"}, "stream_k"),
        (FLASH2 | {"assignment": "stream_k", "num_splits": 2}, "splits by itself"),
        (FLASH2 | {"tracks": [[]]}, "at least one part"),
        (FLASH2 | {"tracks": [[{"name": "a"}]]}, "an amount"),
        (FLASH2 | {"tracks": [[{"name": "a", "tensor": "M*Q"}]]}, "found 'Q'"),
        (FLASH2 | {"tracks": [[{"name": "a", "tensor": "__import__('os')"}]]}, "__import__"),
        (FLASH2 | {"tracks": [[{"name": "a", "tensor": "M-M"}]]}, "tracks[0][0].tensor: expected"),
        (FLASH2 | {"tracks": [[{"name": "a", "tensor": "M/0"}]]}, "division by zero"),
        (FLASH2 | {"tracks": [[{"name": "a", "tensor": "1e15*M"}]]}, "at most 1e+15"),
        (FLASH2 | {"matrix_path": "wgmma"}, "one per consumer warpgroup"),
        (FLASH2 | {"matrix_path": "wgmma", "tracks": [FLASH2_TRACK]}, "wgmma"),
        (FLASH2 | {"smem_bytes": 200_000}, "shared memory"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_in_a_kernel_is_named(kernel: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        simulate(prompt(), A100, "mine", kernel=kernel)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_kernel_may_not_take_the_name_of_a_schedule() -> None:
    with pytest.raises(SpecError, match="a name of its own"):
        build_launches("flash2", prompt(), A100, {"kernel": FLASH2})


def test_a_formula_is_arithmetic_over_sizes() -> None:
    assert evaluate("(W+1)*N/2", {"W": 3, "N": 10}) == 20
    with pytest.raises(ValueError, match="such as"):
        evaluate("1+", {})


def test_the_documented_example_runs_from_the_command_line(cli: Cli, tmp_path: Path) -> None:
    assert load_workload("own_kernel").schedules[2].name == "half_exp_on_fp32"
    outcome = cli("simulate", "own_kernel", "--engine", "analytic", "--format", "csv")
    assert outcome.code == 0
    assert "half_exp_on_fp32" in outcome.out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("engine", ["sim", "analytic"])
def test_a_kernel_whose_work_is_all_hidden_waits_for_its_loads(engine: str) -> None:
    copies = [{"name": "copy", "shared_memory": "2*N*D*2", "hidden": True}]
    result = simulate(prompt(), A100, "mine", engine, kernel=FLASH2 | {"tracks": [copies]})
    assert sum(result.breakdown.values()) == pytest.approx(1)
    assert result.breakdown["load_latency"] > 0.1
    assert "shared_memory" not in result.breakdown
