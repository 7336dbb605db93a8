"""Which configurations of a schedule a GPU can run: tiles, warps, stages and splits that fit."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from gpusim.errors import SpecError
from gpusim.schedules.catalogue import SCHEDULES, build_launches
from gpusim.schedules.launch import Launch
from gpusim.schedules.occupancy import Occupancy, occupancy
from gpusim.schedules.split_kv import HEAD_DIMS
from gpusim.spec.attention import Attention
from gpusim.spec.gpu import Gpu
from gpusim.units import ceil_div

Options = dict[str, Any]

#: What can be chosen, in the order of a `Point`.
NAMES = ("block_m", "block_n", "num_warps", "stages", "num_splits")
#: A value for each of `NAMES`; None leaves it to the schedule, or as it was given.
Point = tuple[int | None, ...]
#: The schedule as it is.
UNTUNED: Point = (None,) * len(NAMES)

#: Values of each option. Tiles are powers of two, which Triton needs, and the 96 and 192 of shipped
#: kernels, beside what the schedule itself takes.
BLOCK_M = (16, 32, 64, 128, 192, 256)
BLOCK_N = (16, 32, 64, 96, 128, 192, 256)
NUM_WARPS = (1, 2, 4, 8, 16)
STAGES = (1, 2, 3, 4, 5)
#: Powers of two, and half as many again; up to the KV tiles of the longest sequence.
SPLITS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
#: Splits are also chosen so that CTAs fill so many waves.
WAVES = (1, 2, 3, 4)

#: Registers that a thread needs beside the accumulators of S and O: Triton 3.9 builds of such tiles
#: use at least 60 (`gpusim.schedules.tile`), so that more than 195 accumulators spill. The most
#: that FlashAttention-2 ships is 192.
OTHER_REGISTERS, MOST_REGISTERS = 60, 255
#: Warps that only multiply, beside others that load, leave less: 32 in FlashAttention-3's tiles of
#: 192x192 (d=64) and 192x144 (d=96), which have 160 registers (`hopper/tile_size.h`).
CONSUMER_REGISTERS = 32
#: Rows of a matrix instruction, and results of a whole one.
MMA_ROWS, MMA_RESULTS = 16, 128


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpace:
    """What can be tried of a schedule on a problem and a GPU.

    Attributes:
        pinned: options that were given and keep their value.
        tiles: points without splits, the schedule as it is first. Whether shared memory and
            registers hold them is seen when they are built.
        own: launches of the schedule as it is; without what was given, if that needs more.
        splits_freely: whether splits can be chosen, too.
        refused: how many tiles make no sense on any GPU, by reason.
    """

    schedule: str
    attention: Attention
    gpu: Gpu
    pinned: Options
    own: tuple[Launch, ...]
    tiles: tuple[Point, ...]
    splits_freely: bool
    refused: Counter[str]

    @property
    def about(self) -> int:
        """About how many points there are: tiles that turn out not to fit are among them, and all
        are taken to have as many splits as the schedule's own.
        """
        return len(self.tiles) * (1 + len(self.splits(UNTUNED)))

    def options(self, point: Point) -> Options:
        """The options of the schedule at a point."""
        chosen = {name: n for name, n in zip(NAMES, point, strict=True) if n is not None}
        return self.pinned | chosen

    def launches(self, point: Point) -> tuple[Launch, ...]:
        """The launches at a point.

        Raises:
            SpecError: if the schedule is not built so.
        """
        return build_launches(self.schedule, self.attention, self.gpu, self.options(point))

    def splits(self, tile: Point) -> tuple[Point, ...]:
        """The splits worth trying with a tile, beside those that the schedule chooses by itself."""
        if not self.splits_freely:
            return ()
        try:
            launches = self.launches(tile)
        except SpecError:
            return ()
        of_keys = "block_n" in SCHEDULES[self.schedule].options
        counts = split_counts(launches, self.attention, self.gpu, of_keys=of_keys)
        return tuple((*tile[:-1], count) for count in counts)

    def lack(self, point: Point) -> str:
        """What a GPU has too little of for a point; empty if it fits."""
        try:
            launches = self.launches(point)
        except SpecError:
            return "not built so"
        for launch in launches:
            if launch.threads > self.gpu.sm.max_threads_per_cta:
                return "threads"
            fit = _fit(launch, self.gpu)
            if not fit.ctas_per_sm:
                return fit.limiter.replace("_", " ")
        return ""

    def __iter__(self) -> Iterator[Point]:
        """Every point that fits."""
        for tile in self.tiles:
            yield from (point for point in (tile, *self.splits(tile)) if not self.lack(point))


def search_space(
    schedule: str, attention: Attention, gpu: Gpu, pinned: Options | None = None
) -> SearchSpace:
    """The space of a schedule; kernels of the user's own, and shipped ones, have one point.

    Every warp of a tile has the rows of a matrix instruction, and every thread registers beside its
    accumulators.

    Raises:
        SpecError: if the schedule cannot take the problem as it is.
    """
    pinned = dict(pinned or {})
    own = _own(schedule, attention, gpu, pinned)
    known = SCHEDULES[schedule].options if schedule in SCHEDULES else frozenset[str]()
    refused: Counter[str] = Counter()
    tiles = [UNTUNED]
    kept = main_tile(own) | pinned
    main = max(own, key=lambda launch: launch.issued_flop)
    values_wide = padded_value_dim(attention) if main_tile(own) else 0
    for tile in _grid(schedule, attention, gpu, pinned, known):
        chosen = {name: n for name, n in zip(NAMES, tile, strict=True) if n is not None}
        reason = _senseless(kept | chosen, main, values_wide)
        if reason:
            refused[reason] += 1
        else:
            tiles.append(tile)
    return SearchSpace(
        schedule=schedule,
        attention=attention,
        gpu=gpu,
        pinned=pinned,
        own=own,
        tiles=tuple(tiles),
        splits_freely="num_splits" in known - pinned.keys(),
        refused=refused,
    )


def main_tile(launches: tuple[Launch, ...]) -> Options:
    """The tile of the kernel that attends, if it has one; without its splits."""
    tile = max(launches, key=lambda launch: launch.issued_flop).tile
    return {name: n for name, n in tile.items() if name != "num_splits"}


def padded_value_dim(attention: Attention) -> int:
    """Columns of the output's accumulator: the head size that a kernel is built for."""
    return next((size for size in HEAD_DIMS if attention.value_dim <= size), attention.value_dim)


def _own(schedule: str, attention: Attention, gpu: Gpu, pinned: Options) -> tuple[Launch, ...]:
    """The launches of the schedule as it is.

    Some of what was given may need a choice that is still to be made (fewer warps, a smaller tile),
    so that the schedule is not built without it.
    """
    try:
        return build_launches(schedule, attention, gpu, pinned)
    except SpecError:
        if not pinned.keys() & set(NAMES):
            raise
        return build_launches(schedule, attention, gpu, {})


def _grid(
    schedule: str, attention: Attention, gpu: Gpu, pinned: Options, known: frozenset[str]
) -> Iterator[Point]:
    """Every combination of the options that are free; the schedule's own for the others."""
    free = set(known - pinned.keys())
    if "num_warps" in free:
        try:
            build_launches(schedule, attention, gpu, {"num_warps": 4, "block_m": 64})
        except SpecError:
            free.remove("num_warps")  # its rows decide
    choices = (BLOCK_M, BLOCK_N, NUM_WARPS, STAGES)
    if free & set(NAMES[:-1]):
        yield from product(
            *(n if name in free else (None,) for name, n in zip(NAMES, choices, strict=False)),
            (None,),
        )


def _senseless(chosen: Options, launch: Launch, values_wide: int) -> str:
    """Why nobody would build a tile, if so.

    `launch` is one of the schedule's; `values_wide` is 0 for kernels that do not fuse.
    """
    m, n, warps = (chosen.get(name) for name in NAMES[:3])
    if m is None or n is None or warps is None:
        return ""
    accumulators = m * (n + values_wide)
    if values_wide and launch.step.matrix_path == "wgmma":
        # Warpgroups of 64 rows that only multiply share the registers of the CTA.
        threads = 2 * m
        room = min(MOST_REGISTERS, launch.registers * launch.threads // threads)
        spills = accumulators > (room - CONSUMER_REGISTERS) * threads
        return "accumulators that spill" if spills else ""
    if values_wide and m < MMA_ROWS * warps:
        return f"a warp with less than {MMA_ROWS} rows"
    if m * n < MMA_RESULTS * warps:
        return "a warp without a whole matrix instruction"
    spills = accumulators > (MOST_REGISTERS - OTHER_REGISTERS) * 32 * warps
    return "accumulators that spill" if spills else ""


def _fit(launch: Launch, gpu: Gpu) -> Occupancy:
    return occupancy(
        gpu, threads=launch.threads, registers=launch.registers, smem_bytes=launch.smem_bytes
    )


def split_counts(
    launches: tuple[Launch, ...], attention: Attention, gpu: Gpu, *, of_keys: bool
) -> tuple[int, ...]:
    """Counts by size, and those that fill whole waves, beside the schedule's own choice.

    Of counts that give the same blocks to the fullest split only the smallest is kept.
    """
    launch = max(launches, key=lambda launch: launch.issued_flop)
    longest = max(s.kv_len if of_keys else s.q_len for s in attention.sequences)
    blocks = ceil_div(longest, launch.tile["block_n" if of_keys else "block_m"])
    slots = gpu.sm.count * _fit(launch, gpu).ctas_per_sm
    own = launch.tile["num_splits"]
    outputs = max(1, launch.work.num_items // own)
    counts = {*SPLITS, *(waves * slots // outputs for waves in WAVES)}
    useful = {ceil_div(blocks, ceil_div(blocks, n)) for n in counts if 1 <= n <= blocks}
    alike = len(attention.sequences) == 1  # else a schedule may split each as it needs
    return tuple(sorted(n for n in useful if n <= SPLITS[-1] and not (alike and n == own)))
