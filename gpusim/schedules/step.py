"""What one main-loop step asks of the pipes of an SM."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property, lru_cache

from gpusim.schedules.tile import Tile
from gpusim.spec.framework_builds import Code


class Pipe(StrEnum):
    """Execution pipes of an SM; amounts are FLOP (tensor), bytes (smem), warps (issue), results."""

    TENSOR = "tensor"
    EXP2 = "exp2"
    FP32 = "fp32"
    CONVERT = "convert"
    SMEM = "shared_memory"
    SHUFFLE = "shuffle"
    ISSUE = "issue"


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Work that one group of warps does in one go: its pipes run at once, the slowest decides.

    `exposed` work hides behind nothing, whatever the overlap of other parts; `hidden` work (copies
    that other warps or engines make) only loads its pipe.
    """

    name: str
    amounts: Mapping[Pipe, float]
    exposed: bool = False
    hidden: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """One step of a CTA's main loop, usually one KV tile.

    Schedules keep the steps that they make, by what they make them of: a step that comes again in
    another problem is the same object, and what follows from it need not be worked out again.

    Attributes:
        tracks: sequences of parts; the parts of a track run one after another, tracks run at once.
        ping_pong: whether barriers make the tracks take turns at the tensor cores.
        matrix_path: 'mma_sync' or 'wgmma', the instructions behind the tensor amounts.
        matrix_dtype: data type of the matrix operands.
        load_bytes: bytes that a full step brings from L2 into the SM.
        store_bytes: bytes that a full step sends off; what an item stores beyond that leaves at its
            end.
        loads: load waits in a row within one step (K, then V: 2).
        stages: steps' loads that may be in flight at once.
        load_clocks: what the loading warps do for each step themselves, one step after another,
            beside the waits that `stages` overlap.
        prefetch: whether loads run ahead of the step that needs them; else it waits for its own.
        syncs: rounds of CTA barriers and load waits, in units of the profile's `cta.sync_clocks`.
        code: time of a step where its compiled instructions tell it; its parts only say what for.
        miss_ns: further wait of a step whose tile comes from HBM and not from L2.
        skip_clocks_per_key: to pass over the keys before an item's first, if its CTA does.
    """

    tracks: tuple[tuple[Part, ...], ...]
    ping_pong: bool = False
    matrix_path: str = "mma_sync"
    matrix_dtype: str = "bf16"
    load_bytes: float
    store_bytes: float = 0.0
    loads: float = 1
    stages: int = 1
    load_clocks: float = 0.0
    prefetch: bool = True
    syncs: float = 1.0
    code: Code | None = None
    miss_ns: float = 0.0
    skip_clocks_per_key: float = 0.0

    def with_more(self, pipe: Pipe, amount: float) -> "Step":
        """The step with more work for a pipe, in equal shares where its tracks first use it."""
        tracks = []
        for track in self.tracks:
            first = next(i for i, part in enumerate(track) if pipe in part.amounts)
            amounts = dict(track[first].amounts)
            amounts[pipe] += amount / len(self.tracks)
            more = replace(track[first], amounts=amounts)
            tracks.append((*track[:first], more, *track[first + 1 :]))
        return replace(self, tracks=tuple(tracks))

    def total(self, pipe: Pipe) -> float:
        """Amount that one step asks of a pipe, over all tracks."""
        return self._totals.get(pipe, 0.0)

    @cached_property
    def _totals(self) -> dict[Pipe, float]:
        totals: dict[Pipe, float] = {}
        for part in (part for track in self.tracks for part in track):
            for pipe, amount in part.amounts.items():
                totals[pipe] = totals.get(pipe, 0.0) + amount
        return totals


@lru_cache(maxsize=1024)
def attention_step(tile: Tile, *, matrix_dtype: str, kv_element_bytes: int = 2) -> Step:
    """One KV tile of a FlashAttention-2 style CTA: QKᵀ, online softmax, PV, in one track.

    Warps tile the query rows, 16 or more each, so each of them reads the whole K and V tile from
    shared memory; warps beyond block_m/16 share out the keys. (Warpgroup instructions read it once
    for 64 rows.) With S = block_m·block_n scores and padded head sizes d and dv:

        QKᵀ      tensor 2·S·d FLOP, smem (readers + 1 write)·block_n·d·e B (+ block_m·d·e B for Q)
        softmax  exp2 S; pack to 16 bit S/2; FP32 scale, max and sum 3·S, rescale O block_m·dv
        PV       tensor 2·S·dv FLOP, smem (readers + 1)·block_n·dv·e B

    A cache in FP8 under 16-bit queries is converted once per element on its way into shared memory,
    or by every warp that reads it.
    Source: FlashAttention-2 `flash_fwd_kernel.h`; the pipe sums give 2.81 us a step for the A100
    split-KV tile 64x128 at d=128, where 2.89 us is measured.
    """
    d, dv, n = tile.head_dim, tile.value_dim, tile.block_n
    scores = float(tile.block_m * n)
    e = tile.element_bytes
    q_bytes = 0 if tile.q_in_registers else tile.block_m * d * e
    wgmma = tile.matrix_path == "wgmma"
    readers = 1 + (tile.block_m // 64 if wgmma else min(tile.num_warps, tile.block_m // 16))
    qk = {Pipe.TENSOR: 2 * scores * d, Pipe.SMEM: float(readers * n * d * e + q_bytes)}
    pv = {Pipe.TENSOR: 2 * scores * dv, Pipe.SMEM: float(readers * n * dv * e)}
    track = (
        Part("qk", qk),
        Part("exp2", {Pipe.EXP2: scores}),
        Part("pack", {Pipe.CONVERT: scores / 2}),
        Part("scale", {Pipe.FP32: 3 * scores + tile.block_m * dv}),
        Part("pv", pv),
    )
    steps = 2 if matrix_dtype == "bf16" else 1  # there is an instruction to FP16 only
    times = steps * (readers - 1) if tile.converts_per_warp else 1
    unpack = Part("unpack", {Pipe.CONVERT: float(times * n * (d + dv))})
    return Step(
        tracks=((unpack, *track) if kv_element_bytes < e else track,),
        matrix_path=tile.matrix_path,
        matrix_dtype=matrix_dtype,
        load_bytes=float(n * (d + dv) * kv_element_bytes),
        loads=2,
        stages=tile.stages,
    )
