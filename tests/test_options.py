"""Contracts under every option of every schedule, on a prompt, a decode step and a ragged chunk."""

from typing import Any

import contracts
import pytest

from gpusim.spec.attention import Attention, Sequence
from gpusim.spec.load import load_gpu

OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("standard", {"block_m": 64, "block_n": 64, "stages": 2}),
    ("flash1", {"num_splits": 3}),
    ("flash1", {"algorithm": "paper"}),
    ("flash2", {"block_m": 64, "block_n": 32}),
    ("flash2", {"num_warps": 4, "stages": 2, "registers": 200}),
    ("flash2_split_kv", {"num_splits": 3}),
    ("flash2_split_kv", {"num_splits": 64, "block_n": 64}),
    ("flash3", {"num_splits": 5}),
    ("flash3", {"block_n": 64}),
    ("lean", {"fixed_maximum": True}),
    ("lean", {"block_n": 32}),
]
PROBLEMS = {
    "prompt": (Sequence(count=2, q_len=300, kv_len=300),),
    "decode": (Sequence(count=3, q_len=1, kv_len=1000),),
    "ragged": (Sequence(q_len=100, kv_len=700), Sequence(count=2, q_len=7, kv_len=90)),
}


@pytest.mark.parametrize("gpu_name", ["a100_sxm_80gb", "h100_sxm", "rtx_6000_ada"])
@pytest.mark.parametrize("sequences", PROBLEMS.values(), ids=PROBLEMS)
@pytest.mark.parametrize(("schedule", "options"), OPTIONS, ids=str)
def test_options_keep_the_contracts(
    schedule: str, options: dict[str, Any], sequences: tuple[Sequence, ...], gpu_name: str
) -> None:
    gpu = load_gpu(gpu_name)
    attention = Attention(q_heads=8, kv_heads=2, head_dim=128, sequences=sequences)
    args = (attention, gpu, schedule, options)
    contracts.every_allowed_pair_is_covered_once(*args)
    contracts.useful_flop_is_the_dense_count_and_no_more_than_issued(*args)
    contracts.operands_ask_for_the_bytes_of_the_work_table(*args)
    contracts.hbm_carries_at_least_the_compulsory_bytes(*args)
    for engine in ("sim", "analytic"):
        contracts.no_launch_beats_a_bound(*args, engine=engine, l2="cold")
        contracts.shares_are_shares_and_reruns_are_identical(*args, engine=engine, l2="warm")
