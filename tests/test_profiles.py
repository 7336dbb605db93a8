"""The shipped GPU profiles: every number has a kind and a source, and peaks are the datasheet's."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli

from gpusim.spec.gpu import Gpu
from gpusim.spec.load import load_gpu, shipped
from gpusim.spec.provenance import Kind
from gpusim.spec.yaml_file import read_mapping

#: Datasheet: dense BF16 TFLOP/s, the clock it is quoted at (MHz), HBM or GDDR GB/s.
DATASHEET = {
    "a100_pcie_80gb": (312, 1410, 1935),
    "a100_sxm_40gb": (312, 1410, 1555),
    "a100_sxm_80gb": (312, 1410, 2039),
    "h100_pcie": (756, 1620, 2039),
    "h100_sxm": (989, 1830, 3352),
    "h200_sxm": (989, 1830, 4800),
    "l40s": (362, 2490, 864),
    "rtx_6000_ada": (364, 2505, 960),
}
PROFILES = pytest.mark.parametrize("name", DATASHEET)


def leaves(node: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Every number of a raw document, and every mapping that stands for one, with its path."""
    if isinstance(node, dict) and "value" not in node:
        for key, value in node.items():
            yield from leaves(value, f"{where}.{key}".removeprefix("."))
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from leaves(value, f"{where}[{i}]")
    elif not isinstance(node, str):
        yield where, node


def test_every_shipped_profile_is_checked_here() -> None:
    assert list(shipped("hardware")) == list(DATASHEET)


@PROFILES
def test_every_number_in_the_file_has_a_kind_and_a_source(name: str) -> None:
    found = list(leaves(read_mapping(shipped("hardware")[name])))
    assert found
    for where, leaf in found:
        assert isinstance(leaf, dict), f"{where}: a bare {leaf!r}"
        assert {"value", "kind", "source"} <= leaf.keys(), where
        assert leaf["kind"] in set(Kind), where
        assert len(leaf["source"].split()) >= 2, where


@PROFILES
def test_every_number_of_the_loaded_profile_has_a_source(name: str) -> None:
    gpu = load_gpu(name)
    numbers = {where for where, _ in leaves(gpu.model_dump(exclude={"provenance"}))}
    assert gpu.provenance.keys() == numbers


@PROFILES
def test_a_profile_has_the_name_of_its_file(name: str) -> None:
    assert load_gpu(name).name == name


@PROFILES
def test_peaks_are_those_of_the_datasheet(name: str) -> None:
    gpu = load_gpu(name)
    tflops, mhz, gb_per_s = DATASHEET[name]
    assert peak_tflops(gpu, mhz) == pytest.approx(tflops, rel=0.01)
    assert gpu.hbm.peak_gb_per_s == pytest.approx(gb_per_s, rel=0.01)
    assert mhz <= gpu.clock.boost_mhz
    assert gpu.hbm.sustained_gb_per_s < gpu.hbm.peak_gb_per_s


def peak_tflops(gpu: Gpu, mhz: float) -> float:
    """Dense BF16 rate of the fastest instruction path."""
    rates = gpu.tensor.wgmma_flop_per_clock or gpu.tensor.mma_sync_flop_per_clock
    return rates["bf16"] * gpu.sm.count * mhz / 1e6


@PROFILES
def test_clocks_fall_with_the_load(name: str) -> None:
    clock = load_gpu(name).clock
    assert clock.boost_mhz >= clock.benchmark_mhz >= clock.steady_mhz


@PROFILES
def test_only_gpus_with_fp8_have_a_rate_for_it(name: str) -> None:
    gpu = load_gpu(name)
    assert ("fp8" in gpu.tensor.mma_sync_flop_per_clock) == (gpu.architecture != "sm_80")
    assert bool(gpu.tensor.wgmma_flop_per_clock) == (gpu.architecture == "sm_90")


def test_rtx_6000_ada_says_that_nothing_was_measured_on_it(cli: Cli) -> None:
    gpu = load_gpu("rtx_6000_ada")
    kinds = {where: origin.kind for where, origin in gpu.provenance.items()}
    assert set(kinds.values()) == {Kind.DATASHEET, Kind.ESTIMATED}
    assert {"hbm.sustained_gb_per_s", "clock.steady_mhz", "cta.sync_clocks"} <= {
        where for where, kind in kinds.items() if kind is Kind.ESTIMATED
    }
    shown = cli("hardware", "rtx_6000_ada").out
    assert shown.count(" estimated ") == list(kinds.values()).count(Kind.ESTIMATED)


def test_a_profile_overrides_numbers_of_the_one_it_extends(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "extends: h100_sxm\n"
        "name: mine\n"
        "sm:\n  count: {value: 66, kind: estimated, source: half of it}\n"
    )
    mine, base = load_gpu(path), load_gpu("h100_sxm")
    assert (mine.name, mine.sm.count) == ("mine", 66)
    assert mine.provenance["sm.count"].model_dump(exclude_none=True) == {
        "kind": Kind.ESTIMATED,
        "source": "half of it",
    }
    assert mine.sm.model_copy(update={"count": base.sm.count}) == base.sm
    assert mine.clock == base.clock
    assert mine.provenance.keys() == base.provenance.keys()


def test_a_profile_can_extend_a_file_beside_it(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("extends: l40s\nname: base\ndescription: mine\n")
    (tmp_path / "top.yaml").write_text("extends: base.yaml\nname: top\n")
    assert load_gpu(tmp_path / "top.yaml").description == "mine"


def test_a_profile_that_changed_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    for name in ("first", "second"):
        path.write_text(f"extends: l40s\nname: {name}\n")
        assert load_gpu(path).name == name
