"""Tables of the README: targets by group, pairs of kernels, and effects switched off."""

from dataclasses import replace

import pytest

from gpusim.spec.attention import Attention, Sequence
from gpusim.study.ablation import EFFECTS
from gpusim.study.measured import MeasuredRow
from gpusim.study.predict_row import Prediction
from validation import ablation, kernel_pairs, targets

ATTENTION = Attention(
    q_heads=8, kv_heads=8, head_dim=128, sequences=(Sequence(count=1, q_len=1, kv_len=4096),)
)
ROW = MeasuredRow(
    gpu="h100_sxm",
    kernel="vllm_flash_attn_3",
    phase="decode",
    l2="warm",
    measured_us=100.0,
    source="by hand",
    attention=ATTENTION,
)


def _row(kernel: str, measured: float, **changes: object) -> MeasuredRow:
    attention = ATTENTION.model_copy(update=changes)
    return replace(ROW, kernel=kernel, measured_us=measured, attention=attention)


def _prediction(kernel: str, share: float, **changes: object) -> Prediction:
    row = _row(kernel, 100.0, **changes)
    return Prediction(row=row, predicted_us=100 * share, roofline_us=1.0, bound="hbm")


@pytest.mark.parametrize(
    ("kernel", "changes", "fit", "group"),
    [
        ("vllm_flash_attn_2", {}, True, "fit sets, 16 bit"),
        ("flashinfer", {}, False, "hold-outs, 16 bit"),
        ("vllm_flash_attn_3", {"kv_dtype": "fp8"}, True, "FP8"),
        ("sglang_flash_attn_3", {"dtype": "fp8"}, False, "FP8"),
        ("sglang_triton", {}, True, "Triton kernels"),
        ("vllm_triton", {"kv_dtype": "fp8"}, False, "Triton kernels"),
    ],
)
def test_a_row_counts_in_one_group(
    kernel: str, changes: dict[str, object], fit: bool, group: str
) -> None:
    assert targets.group_of(_prediction(kernel, 1.0, **changes), fit=fit) == group


@pytest.mark.parametrize(
    ("median", "tail", "rank", "met"),
    [
        (0.04, 0.12, 0.99, True),
        (0.041, 0.12, 0.99, False),
        (0.04, 0.121, 0.99, False),
        (0.04, 0.12, 0.989, False),
        (0.04, 0.12, None, True),
    ],
)
def test_all_three_targets_decide(
    median: float, tail: float, rank: float | None, met: bool
) -> None:
    found = {"median_ape": median, "p90_ape": tail, "spearman": rank}
    assert targets.is_met(found, "fit sets, 16 bit") == met


def test_targets_are_of_each_group_then_of_dataset_and_phase() -> None:
    """Errors of 2 % in decode and 10 % in prefill: median 6 %, 90th percentile 10 %."""
    decode = [_prediction("flashinfer", 1.02)] * 5
    prefill = [replace(p, predicted_us=90.0, row=replace(p.row, phase="prefill")) for p in decode]
    text = targets.targets_table([targets.Rows("x/y", True, [*decode, *prefill])])
    lines = text.partition("---: |\n")[2].splitlines()
    assert lines == [
        "| **fit sets, 16 bit** | all |  | 10 | 6.0 / 4 | 10 / 12 |  | missed |",
        "| fit sets, 16 bit | `x/y` | decode | 5 | 2.0 / 4 | 2.0 / 12 |  | met |",
        "| fit sets, 16 bit | `x/y` | prefill | 5 | 10 / 4 | 10 / 12 |  | missed |",
    ]


def test_problems_are_drawn_until_they_make_the_pairs() -> None:
    """Three heads' problems make 1, 3 and 0 pairs; a kernel alone makes none."""
    rows = [
        *(_row(kernel, us, q_heads=16) for kernel, us in (("a", 1.0), ("b", 2.0))),
        *(_row(kernel, us, q_heads=32) for kernel, us in (("a", 1.0), ("b", 2.0), ("c", 4.0))),
        *(_row(kernel, us, q_heads=64) for kernel, us in (("a", 1.0), ("b", 1.05))),
        _row("a", 1.0, q_heads=128),
    ]
    assert {id(row) for row in kernel_pairs.draw(rows, 9, seed=0)} == set(map(id, rows[:5]))
    for seed in range(4):
        drawn = kernel_pairs.draw(rows, 1, seed)
        assert drawn in (rows[:2], rows[2:5])
        assert drawn == kernel_pairs.draw(rows, 1, seed)


def test_pairs_are_counted_by_gpu_and_by_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same call, measured faster by its own kernel than another could ever be."""
    rows = [_row("vllm_flash_attn_3", 20.0), _row("standard", 400.0)]
    read: list[list[str]] = []

    def made_up(names: list[str]) -> tuple[list[MeasuredRow], None]:
        read.append(names)
        return rows, None

    monkeypatch.setattr(kernel_pairs, "read_sources", made_up)
    names = ["p:h100_sxm/sglang", "p:h100_sxm/vllm", "published"]
    text = kernel_pairs.pairs_table(names, engine="analytic", seed=0, workers=1)
    assert read == [["p:h100_sxm/sglang", "p:h100_sxm/vllm"]]
    assert text.partition("---: |\n")[2].splitlines() == [
        "| **h100_sxm** | all | 1 | 100 |",
        "| h100_sxm | `standard`, `vllm_flash_attn_3` | 1 | 100 |",
    ]


def test_each_effect_has_a_line_and_each_gpu_and_phase_a_column() -> None:
    prefill = Sequence(count=1, q_len=512, kv_len=512)
    rows = [
        _row("vllm_flash_attn_3", 20.0),
        replace(_row("vllm_flash_attn_3", 20.0, sequences=(prefill,)), phase="prefill"),
        replace(_row("vllm_flash_attn_2", 20.0), gpu="l40s"),
    ]
    header, _, *lines = ablation.ablation_table(rows, workers=1).partition("\n\n")[2].splitlines()
    columns = ("h100_sxm decode", "h100_sxm prefill", "l40s decode")
    assert header == f"| model | {' | '.join(f'{c}: median / p90' for c in columns)} |"
    labels = ["everything", *(f"without `{name}`" for name in EFFECTS)]
    assert [line.strip("| ").split(" | ")[0] for line in lines] == labels
    assert len({line.partition(" | ")[2] for line in lines}) > len(EFFECTS) / 2
