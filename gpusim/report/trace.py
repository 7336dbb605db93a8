"""A timeline for Perfetto or chrome://tracing, in Chrome's trace event format.

A process per run. Its first track holds the launches; then comes a track per SM slot, named like
`SM[3].slot[1]`, with a span per phase of each work item; counters stand beside. Times are in us, in
whole ns, so that neighbours on a track never overlap.

Source of the format: Google, "Trace Event Format" (JSON object format, events X, C and M). Within
it, what Perfetto's `json_trace_tokenizer.cc` takes in all its versions: no `displayTimeUnit`, which
some take for the unit of the times; `otherData` in front, where it is never cut by the end of a
chunk; times before names, and names without escapes.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from gpusim.result import Result
from gpusim.version import __version__

if TYPE_CHECKING:
    from gpusim.result import Span

Event = dict[str, Any]
NS_PER_US = 1000
#: Thread of the launches; slots count from the next one on. No thread has the number of a process,
#: which would make it that process' main thread, or 0, which stands for an idle processor.
LAUNCHES = 1000


def trace_file(results: Sequence[Result], *, most_ctas: int | None = None) -> tuple[bytes, str]:
    """The trace of traced runs as a JSON file, and a line on what is in it.

    `otherData` holds version, workloads, GPUs, schedules, and how many work items the trace shows.

    Args:
        results: runs with spans.
        most_ctas: keep the spans of at most so many work items of each launch, those of whole SM
            slots, evenly chosen; launches and counters stay as they are.
    """
    shown = [_thinned(result.spans, most_ctas) for result in results]
    kept, total = sum(map(len, shown)), sum(len(result.spans) for result in results)
    thinning = f"{kept} of {total} work items" if kept < total else f"all {total} work items"
    if not total:
        thinning = "launches only"
    if most_ctas is not None:
        thinning += f", at most {most_ctas} of a launch"
    other = {
        "gpusim": __version__,
        "workload": _listed(result.workload for result in results),
        "gpu": _listed(result.gpu for result in results),
        "schedule": _listed(result.label for result in results),
        "spans": thinning,
    }
    events = (
        json.dumps(event, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
        for process, (result, spans) in enumerate(zip(results, shown, strict=True), start=1)
        for event in _events(process, result, spans)
    )
    head = f'{{"otherData":{json.dumps(other, ensure_ascii=False)},"traceEvents":[\n'
    content = head + ",\n".join(events) + "\n]}\n"
    return content.encode(), f"{len(results)} run{'s' if len(results) > 1 else ''}, {thinning}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def _events(process: int, result: Result, spans: "Sequence[Span]") -> Iterator[Event]:
    per_sm = max(launch.ctas_per_sm for launch in result.launches)

    def thread(span: "Span") -> int:
        return LAUNCHES + 1 + span.sm * per_sm + span.slot

    name = f"{result.gpu}: {result.label} ({result.workload or 'attention'})"
    yield from _named("process", name, process, pid=process)
    yield from _named("thread", "launches", LAUNCHES, pid=process, tid=LAUNCHES)
    slots = {thread(span): f"SM[{span.sm}].slot[{span.slot}]" for span in spans}
    for track, slot in sorted(slots.items()):
        yield from _named("thread", slot, track, pid=process, tid=track)
    yield from _launches(process, result)
    loops = [
        _loop_name(launch.name, launch.operator, launch.issued_flop) for launch in result.launches
    ]
    for span in spans:
        yield from _phases(process, thread(span), span, loops[span.launch])
    yield from _counters(process, result)


def _named(kind: str, name: str, order: int, **where: int) -> Iterator[Event]:
    """Name and place of a process or a thread."""
    yield {"ph": "M", **where, "name": f"{kind}_name", "args": {"name": name}}
    yield {"ph": "M", **where, "name": f"{kind}_sort_index", "args": {"sort_index": order}}


def _loop_name(kernel: str, operator: str, flop: float) -> str:
    """What the main loop of a launch's items is called; copies and combines go by their kernel."""
    return "KV steps" if flop and operator == "attention" else kernel


def _launches(process: int, result: Result) -> Iterator[Event]:
    """A span per launch, and its clock; all calls of a kind in a model's step are one span."""
    start = 0.0
    for launch in result.launches:
        end = start + launch.total_us
        start += launch.gap_us
        args = {
            "operator": launch.operator,
            "calls": launch.calls,
            "ctas": launch.ctas,
            "ctas_per_sm": launch.ctas_per_sm,
            "limiter": launch.limiter,
            "bound": launch.bound,
        }
        name = launch.name if launch.calls == 1 else f"{launch.name} x{launch.calls}"
        yield from _span(process, LAUNCHES, name, start, end, args)
        if launch.clock_mhz:
            for moment in (start, end):
                yield _counter(process, "clock", moment, {"MHz": launch.clock_mhz})
        start = end


def _phases(process: int, thread: int, span: "Span", loop: str) -> Iterator[Event]:
    names = {"steps": loop, "wait": "wait for peers"}
    for phase, start, end in span.phases:
        args = {"item": span.item} | ({"steps": round(span.steps, 3)} if phase == "steps" else {})
        yield from _span(process, thread, names.get(phase, phase), start, end, args)


def _span(
    process: int, thread: int, name: str, start_us: float, end_us: float, args: dict[str, Any]
) -> Iterator[Event]:
    """A complete event, unless it is shorter than the clock can tell."""
    start, end = (round(us * NS_PER_US) for us in (start_us, end_us))
    if end > start:
        yield {
            "ph": "X",
            "pid": process,
            "tid": thread,
            "ts": start / NS_PER_US,
            "dur": (end - start) / NS_PER_US,
            "name": name,
            "args": args,
        }


def _counters(process: int, result: Result) -> Iterator[Event]:
    """Bandwidths in GB/s and CTAs, each value until the next one; none between launches."""
    samples = result.samples
    for sample, following in zip_longest(samples, samples[1:]):
        yield from _values(
            process,
            sample.start_us,
            hbm=sample.hbm_bytes_per_us / 1e3,
            l2=sample.l2_bytes_per_us / 1e3,
            ctas=sample.ctas,
            in_loop=sample.loop_ctas,
        )
        if following is None or following.launch != sample.launch:
            yield from _values(process, sample.end_us, hbm=0.0, l2=0.0, ctas=0.0, in_loop=0.0)


def _values(
    process: int, moment: float, *, hbm: float, l2: float, ctas: float, in_loop: float
) -> Iterator[Event]:
    yield _counter(process, "HBM", moment, {"GB/s": hbm})
    yield _counter(process, "L2", moment, {"GB/s": l2})
    yield _counter(process, "CTAs", moment, {"resident": ctas, "in main loop": in_loop})


def _counter(process: int, name: str, moment: float, values: dict[str, float]) -> Event:
    shown = {key: round(value, 3) for key, value in values.items()}
    ts = round(moment * NS_PER_US) / NS_PER_US
    return {"ph": "C", "pid": process, "ts": ts, "name": name, "args": shown}


def _thinned(spans: "Sequence[Span]", most: int | None) -> "Sequence[Span]":
    """Of each launch with more items the spans of whole slots, or some of one slot's."""
    if most is None:
        return spans
    launches: dict[int, list[Span]] = {}
    for span in spans:
        launches.setdefault(span.launch, []).append(span)
    return [span for group in launches.values() for span in _thinned_launch(group, most)]


def _thinned_launch(spans: "list[Span]", most: int) -> "list[Span]":
    if len(spans) <= most:
        return spans
    sizes = Counter((span.sm, span.slot) for span in spans)
    slots = sorted(sizes)
    for count in range(min(len(slots), most), 0, -1):
        chosen = {slots[place * len(slots) // count] for place in range(count)}
        if sum(sizes[slot] for slot in chosen) <= most:
            return [span for span in spans if (span.sm, span.slot) in chosen]
    first = [span for span in spans if (span.sm, span.slot) == slots[0]]
    return [first[place * len(first) // most] for place in range(most)]
