"""The tables that figures of runs are drawn from: their sums are those of the results."""

from collections import defaultdict
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from gpusim.errors import SpecError
from gpusim.spec.load import load_gpu
from gpusim.study.compare import compare_files
from gpusim.study.figure_tables import OF_SPANS, TABLES
from gpusim.study.files import simulate_files
from gpusim.study.predict import Case
from gpusim.study.roofline import roofline
from gpusim.study.run_tables import breakdown, traffic_by_level
from gpusim.study.sensitivity import sensitivity
from gpusim.study.timeline import PHASES, occupancy_over_time, timeline

GPU = load_gpu("h100_sxm")


@cache
def _cases() -> tuple[Case, ...]:
    """Two GPUs, three schedules, traced."""
    run = simulate_files(
        ["long_context_decode"],
        gpus=["a100_sxm_80gb", "h100_sxm"],
        schedules=["flash2_split_kv", "lean", "santa_flash"],
        trace=True,
    )
    return tuple(run.cases)


def _results() -> list[Any]:
    return [case.result for case in _cases()]


def _by_run(rows: list[dict[str, Any]], column: str) -> dict[int, float]:
    sums: dict[int, float] = defaultdict(float)
    for row in rows:
        sums[row["run"]] += row[column]
    return sums


def test_cases_stand_beside_results_and_say_what_they_are_of() -> None:
    run = simulate_files(["long_context_decode"], gpus=["h100_sxm"], engine="analytic")
    assert [case.result for case in run.cases] == run.results
    assert {case.gpu.name for case in run.cases} == {"h100_sxm"}
    assert [c.choice.name for c in run.cases] == [r.schedule for r in run.results]
    found = compare_files(["long_context_decode"], engine="analytic")
    assert [case.result for case in found.cases] == [entry.result for entry in found.entries]


def test_the_breakdown_adds_up_to_the_time() -> None:
    rows = breakdown(_results())
    assert _by_run(rows, "share") == pytest.approx(dict.fromkeys(range(len(_cases())), 1.0))
    times = {run: result.time_us for run, result in enumerate(_results())}
    assert _by_run(rows, "us") == pytest.approx(times)


def test_traffic_is_that_of_the_results() -> None:
    rows = traffic_by_level(_results())
    for run, result in enumerate(_results()):
        levels = {row["level"]: row["bytes"] for row in rows if row["run"] == run}
        assert levels["hbm_read"] + levels["hbm_write"] == pytest.approx(result.hbm_bytes)
        assert levels["l2_to_sm"] == result.as_dict()["traffic"]["l2_to_sm_bytes"]
        assert levels["compulsory"] == result.compulsory_bytes


def test_ceilings_are_the_profile_times_the_clock() -> None:
    """H100: 132 SMs at 1701 MHz; mma.sync reaches 63 % of 4096 FLOP a clock."""
    rows = [row for row in roofline(_cases()) if row["gpu"] == "h100_sxm"]
    memory = {row["name"]: row["gb_per_s"] for row in rows if row["kind"] == "memory"}
    compute = {row["name"]: row["tflops"] for row in rows if row["kind"] == "compute"}
    ghz, sms = GPU.clock.steady_mhz / 1e3, GPU.sm.count
    assert memory["HBM"] == GPU.hbm.sustained_gb_per_s
    assert memory["L2"] == pytest.approx(GPU.l2.bytes_per_clock * ghz)
    assert memory["shared memory"] == pytest.approx(128 * sms * ghz)
    assert compute["wgmma bf16"] == pytest.approx(4096 * sms * ghz / 1e3)
    assert compute["mma_sync bf16"] == pytest.approx(0.63 * 4096 * sms * ghz / 1e3)
    assert compute["exp2"] == pytest.approx(16 * 512 * sms * ghz / 1e3)  # 2·(128 + 128) FLOP each
    assert compute["FP32"] == pytest.approx(128 / 3 * 512 * sms * ghz / 1e3)


def test_points_lie_under_the_ceilings_of_their_level() -> None:
    rows = roofline(_cases())
    ceilings = {(r["gpu"], r["name"]): r["gb_per_s"] for r in rows if r["kind"] == "memory"}
    points = [row for row in rows if row["kind"] == "run"]
    assert len({(row["run"], row["name"]) for row in points}) == len(points)
    for row in points:
        result = _cases()[row["run"]].result
        assert row["tflops"] == pytest.approx(result.tflops)
        bandwidth = 1e3 * row["tflops"] / row["flop_per_byte"]
        assert bandwidth <= ceilings[row["gpu"], row["name"]] * 1.001
        if row["name"] == "HBM":
            assert bandwidth == pytest.approx(result.hbm_gb_per_s)


def test_the_timeline_covers_every_stay() -> None:
    rows = timeline(_cases())
    for run, case in enumerate(_cases()):
        mine = [row for row in rows if row["run"] == run]
        for phase in PHASES:
            drawn = sum(
                row[phase]
                * (row["end_us"] - row["start_us"])
                * case.result.launches[row["launch"]].ctas_per_sm
                for row in mine
            )
            stays = sum(
                end - start
                for span in case.result.spans
                for name, start, end in span.phases
                if name == phase
            )
            assert drawn == pytest.approx(stays, rel=1e-3, abs=0.5)
        assert {row["sm"] for row in mine} == set(range(case.gpu.sm.count))
        assert all(0 <= sum(row[phase] for phase in PHASES) <= 1 + 1e-5 for row in mine)
        assert max(row["end_us"] for row in mine) == pytest.approx(case.result.time_us, abs=1e-3)


def test_occupancy_over_time_has_the_achieved_mean_and_stays_below_the_theoretical() -> None:
    rows = occupancy_over_time(_cases())
    for run, case in enumerate(_cases()):
        for index, launch in enumerate(case.result.launches):
            mine = [row for row in rows if (row["run"], row["launch"]) == (run, index)]
            lengths = [row["end_us"] - row["start_us"] for row in mine]
            shares = [row["warps_fraction"] for row in mine]
            mean = sum(s * us for s, us in zip(shares, lengths, strict=True)) / sum(lengths)
            assert mean == pytest.approx(launch.achieved_fraction, rel=1e-6)
            assert max(shares) <= launch.occupancy_fraction * (1 + 1e-9)
            assert {row["theoretical_fraction"] for row in mine} == {launch.occupancy_fraction}


def test_many_runs_have_coarser_timelines() -> None:
    one, many = timeline(_cases()[:1]), timeline(_cases() * 8)
    assert len({row["start_us"] for row in many if row["run"] == 0}) < len(
        {row["start_us"] for row in one}
    )


def test_without_spans_there_is_no_timeline() -> None:
    bare = [replace(_cases()[0], result=replace(_cases()[0].result, spans=()))]
    for name in OF_SPANS:
        with pytest.raises(SpecError, match="flash2_split_kv on a100_sxm_80gb: expected a traced"):
            TABLES[name](bare)


def test_memory_bound_time_moves_against_bandwidth() -> None:
    """At 0.8 of the bandwidth, HBM alone would take 1.25 times as long; at 1.2 of it, 0.83."""
    (row,) = [row for row in sensitivity(_cases()[4:5]) if row["label"] == "hbm.sustained_gb_per_s"]
    assert row["gpu"] == "h100_sxm"
    assert row["value"] == GPU.hbm.sustained_gb_per_s
    assert row["low_value"] == pytest.approx(0.8 * row["value"])
    assert 1.1 < row["low"] / row["base"] <= 1.25
    assert 1 / 1.2 <= row["high"] / row["base"] < 0.95


def test_sensitivities_are_sorted_and_only_of_what_matters() -> None:
    rows = sensitivity(_cases()[:1])
    assert 3 < len(rows) <= 12
    reach = [
        max(r["low"], r["high"], r["base"]) - min(r["low"], r["high"], r["base"]) for r in rows
    ]
    assert reach == sorted(reach, reverse=True)
    labels = [row["label"] for row in rows]
    assert len(set(labels)) == len(labels)
    assert not {"price.usd_per_hour", "power.tdp_w", "sm.register_unit"} & set(labels)
    assert len(sensitivity(_cases()[:1], most=3)) == 3


def test_a_number_that_cannot_be_changes_nothing_and_is_left_empty(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a tenth of the shared memory no kernel fits, and L2 hits end before they begin."""
    monkeypatch.setattr("gpusim.study.sensitivity.LEAST", 0.0)
    rows = {row["label"]: row for row in sensitivity(_cases()[:1], most=100, change=0.9)}
    refused = rows["sm.max_smem_per_cta_bytes"], rows["l2.miss_mib"]
    assert [row["low_value"] for row in refused] == [None, None]
    assert all(row["low"] == row["base"] for row in refused)
    assert all(row["high_value"] == pytest.approx(1.9 * row["value"]) for row in refused)


def test_whole_numbers_stay_whole_and_shares_at_most_one() -> None:
    rows = {row["label"]: row for row in sensitivity(_cases()[4:5], most=100)}
    assert (rows["sm.count"]["low_value"], rows["sm.count"]["high_value"]) == (106, 158)
    highs = [r["high_value"] for name, r in rows.items() if name.endswith("_fraction")]
    assert highs
    assert max(highs) <= 1
