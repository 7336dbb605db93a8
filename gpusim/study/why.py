"""Why one schedule takes longer than another on the same GPU, from the numbers of the results.

The reason that grew most against the best names the loss (`gpusim.study.loss`); the numbers behind
it are the evidence: bytes and FLOP are counts of the whole call, so that two schedules compare
whatever each of them had to move at the least.
"""

from gpusim.result import Result
from gpusim.study.loss import (
    COMBINE,
    LATENCY,
    PIPES,
    Loss,
    attention_part,
    busy_us,
    greatest_loss,
    main_launch,
    share,
    times,
)
from gpusim.units import duration

#: A pipe this busy holds a kernel back; below, its work is exposed to what it depends on.
FULL = 0.9
#: A difference that nobody would measure.
SAME = 0.01
#: Bytes or FLOP this far above the least are re-reads or padding.
MORE = 1.05


def why(result: Result, best: Result) -> str:
    """One line on what makes `result` slower than `best`; empty for the best and faster ones."""
    if result is best or result.time_us < best.time_us * (1 - SAME):
        return ""
    if result.time_us <= best.time_us * (1 + SAME):
        return "as fast as the best"
    if result.step is not None:  # only their attention differs
        return why(attention_part(result), attention_part(best))
    loss = greatest_loss(result, best)
    return f"{_EVIDENCE.get(loss.reason, _waiting)(loss)}; {_part(loss.part)}"


def _part(part: float) -> str:
    """How much of the loss a reason makes up; above all of it, other reasons win some back."""
    if part < 0.995:
        return f"{part:.0%} of the loss"
    return "all of the loss" if part < MORE else "more than all of the loss"


def _tail(loss: Loss) -> str:
    launch = main_launch(loss.result, "tail")
    idle = launch.breakdown["tail"]
    return f"tail: {idle:.0%} of the slots idle while the last CTAs run ({launch.waves:.2f} waves)"


def _unfilled(loss: Loss) -> str:
    launch = main_launch(loss.result, "unfilled")
    ctas = "1 CTA" if launch.ctas == 1 else f"{launch.ctas} CTAs"
    return f"unfilled: only {ctas} for {launch.ctas / launch.waves:.0f} slots"


def _combine(loss: Loss) -> str:
    mine, theirs = (times(result)[COMBINE] for result in loss.both)
    if theirs:
        return f"combine: its launch takes {duration(mine)}, best {duration(theirs)}"
    return f"combine: an extra launch of {duration(mine)}"


def _launches(loss: Loss) -> str:
    mine, theirs = (sum(la.calls for la in r.launches if la.gap_us > 0) for r in loss.both)
    if mine != theirs:
        return f"launches: {mine} gaps, best {theirs}"
    mine_us, theirs_us = (sum(la.calls * la.gap_us for la in r.launches) for r in loss.both)
    return f"launches: gaps of {duration(mine_us)}, best {duration(theirs_us)}"


def _pipes(loss: Loss) -> str:
    """Matrix FLOP, if they explain half of the loss; else the pipe that grew most."""
    issued = [r.total("issued_flop") for r in loss.both]
    if loss.explained_by(*issued):
        useful = issued[0] / loss.result.useful_flop
        name = "padding" if useful > MORE else "work"
        more = f"issues {_ratio(issued[0] / issued[1])} the FLOP of the best"
        return f"{name}: {more}, {_ratio(useful)} the useful"
    grown = {p: [share(r, (p,)) * r.time_us for r in loss.both] for p in PIPES}
    pipe = max(PIPES, key=lambda p: grown[p][0] - grown[p][1])
    mine, theirs = (_busy(result, pipe) for result in loss.both)
    state = "a full pipe, " if mine >= FULL else ""
    return f"{pipe}: {state}{mine:.0%} busy, best {theirs:.0%}"


def _busy(result: Result, pipe: str) -> float:
    """Use of a pipe, over the time of all launches."""
    return busy_us(result, pipe) / result.total("time_us")


def _hbm(loss: Loss) -> str:
    """Bytes, if they explain half of the loss; else the bandwidth."""
    moved = [result.hbm_bytes for result in loss.both]
    if loss.explained_by(*moved):
        least = moved[0] / loss.result.compulsory_bytes
        name = "re-reads" if least > MORE else "traffic"
        more = f"moves {_ratio(moved[0] / moved[1])} the HBM bytes of the best"
        return f"{name}: {more}, {_ratio(least)} compulsory"
    mine, theirs = (result.hbm_gb_per_s for result in loss.both)
    full = share(loss.result, ("hbm",))
    return f"hbm: a full pipe for {full:.0%} of the time, {mine:.0f} GB/s, best {theirs:.0f}"


def _l2(loss: Loss) -> str:
    mine, theirs = (r.total("l2_to_sm_bytes") / 1e9 for r in loss.both)
    full = share(loss.result, ("l2",))
    moved = f"{mine:.3g} GB to the SMs, best {theirs:.3g}"
    return f"l2: a full pipe for {full:.0%} of the time, {moved}"


def _waiting(loss: Loss) -> str:
    """The share of the slots' time, for causes that have no number of their own."""
    causes = LATENCY if loss.reason == "latency" else (loss.reason,)
    mine, theirs = (share(result, causes) for result in loss.both)
    what = _WAITS.get(loss.reason, "")
    return f"{loss.reason}: {what}{mine:.0%} of the slots' time, best {theirs:.0%}"


_WAITS = {
    "latency": "start of CTAs and waits for loads, ",
    "sync": "barriers and load waits, ",
    "fix_up": "waiting for peers and merging their results, ",
}
_EVIDENCE = {
    "tail": _tail,
    "unfilled": _unfilled,
    COMBINE: _combine,
    "launch": _launches,
    "pipes": _pipes,
    "hbm": _hbm,
    "l2": _l2,
}


def _ratio(value: float) -> str:
    return f"{value:.{0 if value >= 10 else 2}f}x"
