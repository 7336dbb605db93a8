"""What a calibrated number needs beside it, and what is left of a profile without calibration."""

from pathlib import Path

import pytest

from gpusim.errors import SpecError
from gpusim.spec.gpu import Gpu
from gpusim.spec.load import lineage, load_gpu, load_uncalibrated, shipped
from gpusim.spec.profile_text import profile_text
from gpusim.spec.provenance import Kind

NOMINAL = "nominal: {value: 1000, kind: measured, source: a bench}"
LEAF = f"{{value: 1100, kind: calibrated, source: a fit, {NOMINAL}, bounds: [800, 1200]}}"


def profile(folder: Path, leaf: str, *, base: str = "l40s", name: str = "mine") -> Path:
    """A profile with another latency of a CTA."""
    path = folder / f"{name}.yaml"
    text = f"extends: {base}\nname: {name}\ncta:\n  latency_ns: {leaf}\n"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", shipped("hardware"))
def test_nothing_calibrated_is_left_of_a_profile_without_calibration(name: str) -> None:
    gpu, bare = load_gpu(name), load_uncalibrated(name)
    assert Kind.CALIBRATED not in {origin.kind for origin in bare.provenance.values()}
    for field, origin in gpu.provenance.items():
        wanted = gpu.value(field) if origin.nominal is None else origin.nominal.value
        assert bare.value(field) == wanted
    assert bare.uncalibrated() == bare


def test_a_calibrated_number_has_its_nominal_one(tmp_path: Path) -> None:
    gpu = load_gpu(profile(tmp_path, LEAF))
    assert (gpu.cta.latency_ns, gpu.uncalibrated().cta.latency_ns) == (1100, 1000)
    assert gpu.provenance["cta.latency_ns"].bounds == (800, 1200)
    (row,) = [row for row in gpu.numbers() if row["field"] == "cta.latency_ns"]
    assert row["bounds"] == {"low": 800, "high": 1200}
    assert row["nominal"] == {"value": 1000, "kind": "measured", "source": "a bench"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[800, 1200]", "[1200, 800]", "cta.latency_ns.bounds: expected the smaller one first"),
        ("[800, 1200]", "[800, 1050]", "cta.latency_ns.value: expected a number within its bounds"),
        ("[800, 1200]", "[1050, 1200]", "cta.latency_ns.nominal.value: expected a number within"),
        ("[800, 1200]", "[0, 1200]", "cta.latency_ns.bounds[0]: expected at least 0.001, found 0"),
        ("[800, 1200]", "[800]", "cta.latency_ns.bounds[1]: expected a value, found none"),
        ("kind: measured", "kind: calibrated", "cta.latency_ns.nominal.kind: expected datasheet"),
        ("kind: measured, ", "", "cta.latency_ns.nominal.kind: expected a value, found none"),
        ("bounds", "bound", "expected only value, kind and source, nominal and bounds; did you"),
    ],
)
def test_a_mistake_beside_a_number_is_named(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    with pytest.raises(SpecError) as error:
        load_gpu(profile(tmp_path, LEAF.replace(old, new)))
    assert message in str(error.value), error.value
    assert len(str(error.value).splitlines()) == 1


def test_a_calibrated_number_without_a_nominal_one_is_a_mistake(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "extends: l40s\nname: mine\n"
        "l2:\n  latency_clocks: {value: 280, kind: calibrated, source: a fit}\n",
        encoding="utf-8",
    )
    with pytest.raises(SpecError, match=r"latency_clocks\.nominal: expected beside"):
        load_gpu(path)


def test_a_calibrated_number_takes_over_what_the_base_says_beside_it(tmp_path: Path) -> None:
    mine = load_gpu(profile(tmp_path, "{value: 900, kind: calibrated, source: a fit}"))
    assert _beside(mine) == _beside(load_gpu("l40s"))
    assert mine.cta.latency_ns == 900


def test_another_estimate_stands_for_itself(tmp_path: Path) -> None:
    mine = load_gpu(profile(tmp_path, "{value: 900, kind: estimated, source: a guess}"))
    assert _beside(mine) == (None, None)
    assert mine.uncalibrated().cta.latency_ns == 900


def test_an_estimate_of_the_same_value_takes_over_what_stands_beside_it(tmp_path: Path) -> None:
    same = load_gpu("l40s").cta.latency_ns
    mine = load_gpu(profile(tmp_path, f"{{value: {same}, kind: estimated, source: l40s}}"))
    assert _beside(mine) == _beside(load_gpu("l40s"))


def test_numbers_are_replaced_where_their_fields_allow(tmp_path: Path) -> None:
    gpu = load_gpu("h100_sxm")
    other = gpu.replaced({"tensor.mma_sync_flop_per_clock.fp16": 1.0, "hbm.latency_ns": 1})
    assert other.tensor.mma_sync_flop_per_clock["fp16"] == other.hbm.latency_ns == 1
    with pytest.raises(SpecError, match=r"h100_sxm: hbm\.latency_ns: expected"):
        gpu.replaced({"hbm.latency_ns": -1})
    assert lineage(profile(tmp_path, LEAF)) == ["mine", "l40s"]


def test_a_profile_as_text_is_read_again(tmp_path: Path) -> None:
    leaf = {"value": 1200.5, "kind": "estimated", "source": "a guess: 5 %"}
    text = profile_text("l40s", name="x", description="y", leaves={"cta.latency_ns": leaf})
    (tmp_path / "x.yaml").write_text(text, encoding="utf-8")
    gpu = load_gpu(tmp_path / "x.yaml")
    assert (gpu.name, gpu.description, gpu.cta.latency_ns) == ("x", "y", 1200.5)
    assert gpu.provenance["cta.latency_ns"].source == "a guess: 5 %"


def _beside(gpu: Gpu) -> tuple[object, object]:
    origin = gpu.provenance["cta.latency_ns"]
    return origin.nominal, origin.bounds
