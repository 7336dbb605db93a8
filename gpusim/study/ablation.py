"""The model without one of its effects: what that effect earns.

An effect is switched off on the way from the schedule to an engine: the launches were chosen for
the real GPU and stay the same kernels, the engines know nothing of it.

    l2            nothing is found in L2: each byte requested is a byte of HBM, at HBM latency
    clock         the datasheet's boost clock always, whatever the load
    padding       only pairs of a query and a key that it sees are work: steps shrink to their share
                  of the tiles. Bytes stay, and head sizes stay padded
    waves         each launch has equal items in whole waves over all SMs, with the same totals
    side_kernels  only launches that compute attention, started by an ordinary launch: no cache
                  write, copies, quantisation, prepare or combine kernel, no `lead_us`
    latency       nothing waits for a launch, for a CTA to begin and end, or for a load: no gaps, no
                  `lead_us`, `cta.latency_ns`, `item_clocks` or `item_amounts`, no latency of L2 or
                  HBM. What steps need to synchronise (`cta.sync_clocks`) stays: it is part of their
                  pace
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np

from gpusim.errors import SpecError, excerpt, nearest
from gpusim.schedules.launch import Launch, Launches, Operand
from gpusim.schedules.loops import grid_rereads
from gpusim.schedules.occupancy import slots_of
from gpusim.schedules.real_work import real_pairs
from gpusim.schedules.step import Pipe
from gpusim.schedules.work import Tiles, Work
from gpusim.spec.attention import Attention
from gpusim.spec.gpu import Gpu
from gpusim.spec.provenance import SMALLEST
from gpusim.units import round_up

Ablate = Callable[[Attention, Gpu, Launches], tuple[Gpu, Launches]]


def ablated(
    attention: Attention, gpu: Gpu, launches: Launches, without: Iterable[str]
) -> tuple[Gpu, Launches]:
    """GPU and launches of a call without some effects, in whatever order they are named.

    Raises:
        SpecError: for an effect that there is not.
    """
    for name in check_effects(without):
        gpu, launches = EFFECTS[name](attention, gpu, launches)
    return gpu, launches


def check_effects(without: Iterable[str]) -> tuple[str, ...]:
    """The effects, each once and in the order of `EFFECTS`.

    Raises:
        SpecError: for an effect that there is not.
    """
    asked = tuple(without)
    for name in asked:
        if name not in EFFECTS:
            known = ", ".join(EFFECTS)
            raise SpecError(
                f"--without: expected an effect ({known}), found {excerpt(name)}"
                f"{nearest(name, EFFECTS)}"
            )
    return tuple(name for name in EFFECTS if name in asked)


def _without_l2(_: Attention, gpu: Gpu, launches: Launches) -> tuple[Gpu, Launches]:
    """No reuse is as close as -1 MiB, and from 0 on all of it misses."""

    def requested(operand: Operand) -> Operand:
        return replace(operand, rereads=((operand.again_bytes, float("inf")),))

    l2 = gpu.l2.model_copy(update={"hit_mib": -1.0, "miss_mib": 0.0})
    return gpu.model_copy(update={"l2": l2}), tuple(
        replace(
            launch,
            reads=tuple(map(requested, launch.reads)),
            writes=tuple(map(requested, launch.writes)),
        )
        for launch in launches
    )


def _without_clock(_: Attention, gpu: Gpu, launches: Launches) -> tuple[Gpu, Launches]:
    boost = gpu.clock.boost_mhz
    clock = gpu.clock.model_copy(update={"benchmark_mhz": boost, "steady_mhz": boost})
    return gpu.model_copy(update={"clock": clock}), launches


def _without_padding(attention: Attention, gpu: Gpu, launches: Launches) -> tuple[Gpu, Launches]:
    return gpu, tuple(_unpadded(attention, launch) for launch in launches)


def _unpadded(attention: Attention, launch: Launch) -> Launch:
    """Steps as many as the real pairs fill; a kernel that multiplies no tiles pads nothing."""
    if "block_m" not in launch.tile or not launch.amount(Pipe.TENSOR):
        return launch
    block_m, block_n = (launch.tile[name] for name in ("block_m", "block_n"))
    tiles = launch.work.tiles
    filled = real_pairs(attention, launch.work) / (block_m * block_n)
    steps = np.minimum(tiles.steps, filled)
    return replace(launch, work=replace(launch.work, tiles=replace(tiles, steps=steps)))


def _without_waves(_: Attention, gpu: Gpu, launches: Launches) -> tuple[Gpu, Launches]:
    return gpu, tuple(_even(launch, gpu) for launch in launches)


def _even(launch: Launch, gpu: Gpu) -> Launch:
    """Equal items, as many an SM as the fullest has at once or a multiple of it.

    Its re-reads stay those of its grid. A launch whose workers wait for one another (Stream-K)
    shares its work out by itself and stays as it is.
    """
    work, tiles = launch.work, launch.work.tiles
    if work.peers is not None:
        return launch
    slots = slots_of(
        gpu, threads=launch.threads, registers=launch.registers, smem_bytes=launch.smem_bytes
    )
    lanes = round_up(min(slots, launch.num_ctas), gpu.sm.count)
    items = lanes * max(1, round(work.num_items / lanes))
    none = np.zeros(1, dtype=np.int64)
    columns = ("steps", "loop_bytes", "load_bytes", "store_bytes")
    mean = {name: np.array([work.total(getattr(tiles, name)) / items]) for name in columns}
    return replace(
        launch,
        work=Work(
            tiles=Tiles(q_start=none, q_rows=none, kv_start=none, kv_stop=none, **mean),
            group_first=none,
            group_rows=none + 1,
            copies=none + items,
            heads=1,
        ),
        workers=None if launch.workers is None else lanes,
        reads=tuple(
            replace(o, rereads=grid_rereads(launch, o, slots)) if o.rereads is None else o
            for o in launch.reads
        ),
    )


def _without_side_kernels(_: Attention, gpu: Gpu, launches: Launches) -> tuple[Gpu, Launches]:
    """Launches for which the schedule chose a tile; where it chose none, all."""
    first, *rest = [launch for launch in launches if launch.tile] or launches
    return gpu, (replace(first, lead_us=0.0, programmatic=False), *rest)


def _without_latency(_: Attention, gpu: Gpu, launches: Launches) -> tuple[Gpu, Launches]:
    """As little as a profile can state, so that even a launch without work takes some time.

    Stages hide latency; with none, one of them takes what the SM's port gives, as all would.
    """
    parts = {
        "l2": gpu.l2.model_copy(update={"latency_clocks": SMALLEST}),
        "hbm": gpu.hbm.model_copy(update={"latency_ns": SMALLEST}),
        "cta": gpu.cta.model_copy(update={"latency_ns": SMALLEST}),
        "launch": gpu.launch.model_copy(update={"stream_us": 0.0, "graph_us": 0.0}),
    }
    return gpu.model_copy(update=parts), tuple(
        replace(
            launch,
            lead_us=0.0,
            item_clocks=min(launch.item_clocks, SMALLEST),
            item_amounts={},
            step=replace(launch.step, stages=1),
        )
        for launch in launches
    )


EFFECTS: Mapping[str, Ablate] = {
    "l2": _without_l2,
    "clock": _without_clock,
    "padding": _without_padding,
    "waves": _without_waves,
    "side_kernels": _without_side_kernels,
    "latency": _without_latency,
}
