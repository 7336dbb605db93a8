"""`--trace`: spans and counters of a run, and the file that Perfetto opens."""

import json
from collections import defaultdict
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli

from gpusim.report.trace import trace_file
from gpusim.result import Result
from gpusim.spec.attention import Attention
from gpusim.spec.load import load_gpu, load_workload
from gpusim.study.simulate import simulate

GPU = load_gpu("a100_sxm_80gb")
#: Phases in order, plain CTAs in several waves, waits for peers, a combine.
SCHEDULES = ("flash2", "lean", "flash2_split_kv", "santa_prop")
#: ns on the clock of the file.
TOLERANCE = 1e-3


@cache
def _run(schedule: str) -> Result:
    workload = load_workload("long_context_decode")
    return simulate(workload.attention, GPU, schedule, trace=True, workload="long $ctx_")


def _trace(*results: Result, most: int | None = None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(trace_file(results, most_ctas=most)[0])
    return found


def _events(trace: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [event for event in trace["traceEvents"] if event["ph"] == kind]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_phases_follow_one_another_and_fill_the_stay(schedule: str) -> None:
    for span in _run(schedule).spans:
        phases = span.phases
        assert [name for name, _, _ in phases] == ["prologue", "steps", "epilogue", "wait"]
        assert phases[0][1] == span.start_us
        assert phases[-1][2] == span.end_us
        for (_, start, end), (_, following, _) in pairwise(phases):
            assert start <= end == following
        assert span.start_us <= span.loop_us <= span.steps_us


def test_transfers_are_parts_of_the_loop_by_their_share() -> None:
    """One CTA, alone: Q and O come at its SM's port, 64 bytes a clock or what L2 gives."""
    attention = Attention(
        q_heads=1,
        kv_heads=1,
        head_dim=128,
        causal=False,
        sequences=({"q_len": 128, "kv_len": 512},),
    )
    result = simulate(attention, GPU, "flash2", trace=True)
    (span,) = result.spans
    clock = result.launches[0].clock_mhz
    port = min(GPU.l2.port_bytes_per_clock_per_sm, GPU.l2.bytes_per_clock)
    q_us = 128 * 128 * 2 / port / clock
    assert clock == GPU.clock.steady_mhz
    assert span.steps_us - span.loop_us == pytest.approx(q_us, rel=1e-2)
    assert span.wait_us - span.store_us == pytest.approx(q_us, rel=0.05)  # O, and its statistics
    assert span.wait_us == span.end_us
    assert span.steps == 512 / result.launches[0].tile["block_n"]


def test_only_the_hosts_of_stream_k_wait() -> None:
    waits = [span for span in _run("lean").spans if span.end_us > span.wait_us]
    assert 0 < len(waits) < len(_run("lean").spans)
    assert not any(span.end_us > span.wait_us for span in _run("flash2_split_kv").spans)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_counters_add_up_to_the_traffic_and_the_stays(schedule: str) -> None:
    result = _run(schedule)
    lengths = [sample.end_us - sample.start_us for sample in result.samples]
    assert min(lengths) > 0

    def total(name: str) -> float:
        values: list[float] = [getattr(sample, name) for sample in result.samples]
        assert min(values) >= 0
        return sum(value * us for value, us in zip(values, lengths, strict=True))

    stays = sum(span.end_us - span.start_us for span in result.spans)
    assert total("hbm_bytes_per_us") == pytest.approx(result.hbm_bytes, rel=1e-9)
    assert total("ctas") == pytest.approx(stays, rel=1e-9)
    assert total("loop_ctas") == pytest.approx(
        sum(span.wait_us - span.loop_us for span in result.spans), rel=1e-9
    )
    moved = result.as_dict()["traffic"]["l2_to_sm_bytes"]
    assert total("l2_bytes_per_us") >= moved * (1 - 1e-9)  # stores go the other way


def test_an_untraced_run_keeps_nothing_and_takes_as_long() -> None:
    attention = load_workload("long_context_decode").attention
    for schedule in SCHEDULES:
        plain = simulate(attention, GPU, schedule)
        assert (plain.spans, plain.samples) == ((), ())
        assert plain.time_us == pytest.approx(_run(schedule).time_us, rel=1e-3)


def test_the_file_has_the_documented_form() -> None:
    trace = _trace(*(_run(schedule) for schedule in SCHEDULES))
    assert list(trace) == ["otherData", "traceEvents"]
    assert trace["otherData"]["workload"] == "long $ctx_"
    assert trace["otherData"]["schedule"] == ", ".join(SCHEDULES)
    for event in trace["traceEvents"]:
        assert event["ph"] in ("M", "X", "C")
        assert isinstance(event["pid"], int)
        assert event["name"]
        if event["ph"] == "M":
            assert event["name"].endswith(("_name", "_sort_index"))
            continue
        assert event["ts"] >= 0
        assert list(event).index("ts") < list(event).index("name")
        if event["ph"] == "X":
            assert event["dur"] > 0
            assert isinstance(event["tid"], int)
        else:
            assert all(value >= 0 for value in event["args"].values())
    assert {event["name"] for event in _events(trace, "C")} == {"HBM", "L2", "CTAs", "clock"}
    named = {(event["pid"], event.get("tid")) for event in _events(trace, "M")}
    assert {(event["pid"], event["tid"]) for event in _events(trace, "X")} <= named


def test_tracks_are_gpus_sms_and_slots() -> None:
    trace = _trace(_run("flash2_split_kv"))
    names = [event["args"].get("name") for event in _events(trace, "M")]
    assert "a100_sxm_80gb: flash2_split_kv (long $ctx_)" in names
    assert {"launches", "SM[0].slot[0]", "SM[107].slot[0]"} <= set(names)
    kernels = [event["name"] for event in _events(trace, "X") if event["tid"] == 1000]
    assert kernels == [launch.name for launch in _run("flash2_split_kv").launches]
    phases = {event["name"] for event in _events(trace, "X")}
    assert {"prologue", "KV steps", "epilogue", "combine"} <= phases
    assert "wait for peers" in {event["name"] for event in _events(_trace(_run("lean")), "X")}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_spans_of_a_track_never_overlap_and_fill_its_stays(schedule: str) -> None:
    result = _run(schedule)
    tracks: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for event in _events(_trace(result), "X"):
        start, length = (round(1000 * event[key]) for key in ("ts", "dur"))
        tracks[event["tid"]].append((start, start + length))
    for spans in tracks.values():
        spans.sort()
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    drawn = sum(end - start for tid, s in tracks.items() if tid > 1000 for start, end in s) / 1000
    stays = sum(span.end_us - span.start_us for span in result.spans)
    assert drawn == pytest.approx(stays, abs=TOLERANCE * len(result.spans))


@pytest.mark.parametrize("most", [1, 7, 100])
def test_a_thinned_trace_keeps_whole_slots_and_says_so(most: int) -> None:
    result = _run("flash2_split_kv")
    content, said = trace_file([result], most_ctas=most)
    trace = json.loads(content)
    items = {
        (e["pid"], e["args"]["item"], e["tid"]) for e in _events(trace, "X") if e["tid"] > 1000
    }
    assert 1 <= len(items) <= most * len(result.launches)
    assert trace["otherData"]["spans"] in said
    assert f"of {len(result.spans)} work items, at most {most} of a launch" in said
    full = _trace(result)
    assert _events(trace, "C") == _events(full, "C")
    kept = [e for e in _events(trace, "X") if e["tid"] > 1000]
    assert all(event in _events(full, "X") for event in kept[:50])


def test_slots_that_are_kept_lie_all_over_the_gpu() -> None:
    trace = _trace(_run("flash2_split_kv"), most=10)
    sms = {
        int(event["args"]["name"].split("]")[0].removeprefix("SM["))
        for event in _events(trace, "M")
        if event["args"].get("name", "").startswith("SM[")
    }
    assert max(sms) > 60


def test_a_slot_with_more_than_all_that_may_stay_is_thinned_itself() -> None:
    result = _run("flash2_split_kv")
    one = [replace(span, sm=0, slot=0) for span in result.spans if span.launch == 0]
    trace = _trace(replace(result, spans=tuple(one)), most=5)
    assert len({e["args"]["item"] for e in _events(trace, "X") if e["tid"] > 1000}) == 5


def test_a_hundred_thousand_ctas_make_a_file_of_tens_of_megabytes() -> None:
    """The same CTAs over and over, each at a place of its own: nothing but the file is tested."""
    result = _run("flash2_split_kv")
    span = result.spans[0]
    length = span.end_us - span.start_us
    moved = tuple(
        replace(
            span,
            sm=n % 100,
            item=n,
            **{f"{name}_us": getattr(span, f"{name}_us") + n // 100 * length for name in _TIMES},
        )
        for n in range(100_000)
    )
    content, said = trace_file([replace(result, spans=moved)])
    assert "all 100000 work items" in said
    assert len(content) < 50e6
    assert content.count(b'"KV steps"') == 100_000


def test_a_run_without_spans_shows_its_launches() -> None:
    content, said = trace_file([replace(_run("flash2_split_kv"), spans=(), samples=())])
    trace = json.loads(content)
    assert said == "1 run, launches only"
    assert [event["name"] for event in _events(trace, "X")] == ["flash_fwd_splitkv", "combine"]
    assert {event["name"] for event in _events(trace, "C")} == {"clock"}


def test_calls_of_a_kind_are_one_span_of_all_their_time() -> None:
    first, *others = _run("flash2_split_kv").launches
    step = (replace(first, calls=32), *(replace(la, operator="gemm") for la in others))
    spans = _events(_trace(replace(_run("flash2_split_kv"), launches=step, samples=())), "X")
    whole = [event for event in spans if event["tid"] == 1000]
    assert whole[0]["name"] == "flash_fwd_splitkv x32"
    end = whole[0]["ts"] + whole[0]["dur"]
    assert end == pytest.approx(32 * (first.gap_us + first.time_us), abs=TOLERANCE)
    assert whole[1]["ts"] == pytest.approx(end + others[0].gap_us, abs=2 * TOLERANCE)


_TIMES = ("start", "loop", "steps", "store", "wait", "end")


def test_the_command_writes_runs_as_processes(cli: Cli, tmp_path: Path) -> None:
    run = ("llama3_8b_decode", "--gpu", "h100_sxm", "--trace", "out.json", "--trace-ctas", "9")
    outcome = cli("simulate", *run)
    assert outcome.code == 0
    assert outcome.out == cli("simulate", *run[:3]).out
    assert "trace: out.json, 2 runs, 18 of 512 work items, at most 9 of a launch" in outcome.err
    trace = json.loads((tmp_path / "out.json").read_text())
    assert {event["pid"] for event in trace["traceEvents"]} == {1, 2}
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]
    assert cli("compare", *run[:5], "--schedule", "lean").code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--trace", "x.json", "--engine", "analytic"), "--trace: expected --engine sim"),
        (("--trace-ctas", "5"), "--trace-ctas: expected --trace FILE beside it"),
        (("--trace", "x.json", "--trace-ctas", "0"), "--trace-ctas"),
        (("--trace", "no/x.json"), "--trace: expected an existing folder, found no"),
        (("--trace", "x.csv", "--plot", "x.png"), "expected another file than"),
        (("--trace", "x.json", "--output", "x.json"), "expected another file than --output"),
    ],
)
def test_a_bad_trace_is_refused_before_anything_runs(
    arguments: tuple[str, ...], message: str, cli: Cli, tmp_path: Path
) -> None:
    for command in ("simulate", "compare"):
        outcome = cli(command, "llama3_8b_decode", *arguments)
        assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
        assert message in outcome.err
    assert list(tmp_path.iterdir()) == []
