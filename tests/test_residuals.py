"""Figures of errors: the rows of each panel, medians along it, and a small picture for each GPU."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from gpusim.errors import SpecError
from gpusim.spec.attention import Attention, Sequence
from gpusim.study import aiconfigurator
from gpusim.study.measured import MeasuredRow
from gpusim.study.predict_row import Prediction
from validation import guard, residuals
from validation.kernel_pairs import by_system
from validation.residual_figure import Vector, residual_figure, trend

PICTURES = sorted(residuals.FOLDER.glob("residuals_*.png"))
#: Made up: every third row of a sample, 20 % too slow in prefill and 10 % too fast in decode.
PREDICTIONS = [
    Prediction(
        row=row,
        predicted_us=row.measured_us * (1.2 if row.phase == "prefill" else 0.9),
        roofline_us=1.0,
        bound="hbm",
    )
    for row in guard.carried("aiconfigurator:l40s/vllm")[::3]
]


def test_errors_stand_by_phase_with_a_value_for_each_panel() -> None:
    prefill, decode = residuals.residuals(PREDICTIONS[::-1])
    assert (prefill.phase, decode.phase) == ("prefill", "decode")
    assert prefill.error == pytest.approx(0.2)
    assert decode.error == pytest.approx(-0.1)
    assert len(prefill.error) + len(decode.error) == len(PREDICTIONS)
    for part in (prefill, decode):
        assert list(part.values) == [quantity.label for quantity in residuals.QUANTITIES]
        for values in part.values.values():
            assert len(values) == len(part.kernel) == len(part.error)
            assert (values > 0).all()


def _decode(batch: int, kv_len: int) -> MeasuredRow:
    sequence = Sequence(count=batch, q_len=1, kv_len=kv_len)
    attention = Attention(q_heads=8, kv_heads=2, head_dim=128, sequences=(sequence,))
    return replace(PREDICTIONS[0].row, kernel="flash_attn_2", attention=attention)


def test_what_is_on_the_axes_is_calculated_by_hand() -> None:
    """KV of 4 x 6,144 keys, 2 heads of 128 in bf16: 24 MiB of the L40S's 96."""
    values = {q.label: q.value(_decode(4, 6144)) for q in residuals.QUANTITIES}
    assert values["KV bytes / L2 capacity"] == 0.25
    expected = {"batch": 4, "KV length": 6144, "query heads": 8, "query heads a KV head": 4}
    assert {label: values[label] for label in expected} == expected
    assert values["head size"] == 128


def test_waves_are_items_over_the_room_of_the_gpu() -> None:
    """A CTA for each sequence and KV head: 1,136. Q of 64 rows, K and V of 128 take 80 KiB of an
    SM's 100: one at a time on each of 142 SMs.
    """
    assert residuals.waves(_decode(568, 64)) == 8


def test_many_values_are_binned_and_few_rows_have_no_median() -> None:
    values: Vector = np.arange(1, 49).astype(np.float64)
    found = trend(values, -values)
    assert [v for v, _ in found] == [3.5, 9.5, 15.5, 21.5, 27.5, 33.5, 39.5, 45.5]
    assert all(error == -value for value, error in found)
    assert trend(values[:5], values[:5]) == []


def _size(png: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(png)) as picture:
        return picture.size


def test_a_figure_is_the_same_twice_and_takes_one_phase_too() -> None:
    parts = residuals.residuals(PREDICTIONS)
    whole = residual_figure(parts, title="a")
    assert _size(whole)[0] >= 1000
    one = residual_figure(parts[:1], title="a")
    assert one == residual_figure(parts[:1], title="a") != whole


def test_the_program_draws_the_systems_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def drawn(names: list[str], **_: object) -> bytes:
        asked.append(names)
        return b"a picture"

    monkeypatch.setattr(residuals, "FOLDER", tmp_path)
    monkeypatch.setattr(residuals, "modelled", lambda: ["p:a/x", "p:a/y", "p:b/x"])
    monkeypatch.setattr(residuals, "drawn", drawn)
    assert CliRunner().invoke(residuals.main, ["--gpu", "b"]).exit_code == 0
    assert [file.name for file in tmp_path.iterdir()] == ["residuals_b.png"]
    assert CliRunner().invoke(residuals.main, []).exit_code == 0
    assert asked == [["p:b/x"], ["p:a/x", "p:a/y"], ["p:b/x"]]
    with pytest.raises(SpecError, match="expected one of a, b, found 'c'"):
        residuals.main.main(["--gpu", "c"], standalone_mode=False)


def test_the_pictures_of_this_project_are_small_and_of_every_system() -> None:
    assert len(PICTURES) >= 4
    for file in PICTURES:
        assert len(file.read_bytes()) <= 150_000
        assert _size(file.read_bytes())[0] >= 1000
    if aiconfigurator.is_installed():
        names = {file.stem.removeprefix("residuals_") for file in PICTURES}
        assert names == set(by_system(residuals.modelled()))
