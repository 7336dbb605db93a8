"""Times that the plans of a matrix product cannot beat, for all tiles and splits of K at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpusim.machine.placed import edge_rate
from gpusim.machine.saturation import stretches
from gpusim.machine.step_time import StepTime, per_cta
from gpusim.schedules.columns import Bools, Floats, Ints
from gpusim.schedules.gemm import Gemm, GemmPlan
from gpusim.schedules.gemm_tile import OUTPUT_BYTES, PARTIAL_BYTES, GemmTile
from gpusim.spec.gpu import Gpu
from gpusim.units import NS_PER_US

#: Fewest K slices that a part of a split product has.
MIN_SPLIT_STEPS = 4


@dataclass(frozen=True, slots=True)
class Candidates:
    """Tiles of a GPU as columns: one entry a tile.

    Attributes:
        tiles: what the entries stand for.
        rows, columns, keys: of a tile of C, and of a K slice.
        cluster_m, cluster_n: see `GemmTile`.
        slots: CTAs that the GPU holds.
        alone, shared: clocks of a step, see `StepTime`.
        end: clocks of the epilogue.
    """

    tiles: tuple[GemmTile, ...]
    rows: Ints
    columns: Ints
    keys: Ints
    cluster_m: Ints
    cluster_n: Ints
    slots: Ints
    alone: Floats
    shared: Floats
    end: Floats

    def ordered(
        self, gemm: Gemm, gpu: Gpu, clock: float, hbm_bytes: float, most: int
    ) -> list[tuple[float, GemmPlan]]:
        """The plans with the least bounds, least first, at most so many."""
        splits, valid = self._splits(gemm)
        least = np.where(valid, self._least_us(gemm, gpu, clock, hbm_bytes, splits), np.inf).ravel()
        # All that are as good as the last: which of equals `argpartition` takes, the CPU decides.
        last = np.partition(least, min(most, least.size) - 1)[min(most, least.size) - 1]
        first = np.flatnonzero(least <= last)
        first = first[np.argsort(least[first], kind="stable")][:most]
        plans = []
        for index in first[np.isfinite(least[first])]:
            row, column = divmod(int(index), splits.shape[1])
            plan = GemmPlan(tile=self.tiles[row], splits=int(splits[row, column]))
            plans.append((float(least[index]), plan))
        return plans

    def _grid(self, gemm: Gemm) -> tuple[Ints, Ints]:
        return -(-gemm.m // self.rows), -(-gemm.n // self.columns)

    def _splits(self, gemm: Gemm) -> tuple[Ints, Bools]:
        """Parts of K to try for each tile, and which of them to: none, a few, half of what fills
        the GPU in one wave, all of it."""
        rows, columns = self._grid(gemm)
        parts = self.slots // (rows * columns * gemm.groups)
        most = np.minimum(parts, -(-gemm.k // self.keys) // MIN_SPLIT_STEPS)
        if gemm.dtype == "fp8":  # CUTLASS' scaled products do not split K
            most = np.ones_like(most)
        few = [np.full_like(parts, n) for n in (1, 2, 3, 4)]
        splits = np.stack([*few, np.maximum(1, parts // 2), np.maximum(1, parts)], axis=1)
        valid = splits <= np.maximum(1, most)[:, None]
        valid[:, 4:] &= splits[:, 4:] > len(few)
        valid &= ((rows % self.cluster_m == 0) & (columns % self.cluster_n == 0))[:, None]
        return splits, valid

    def _least_us(
        self, gemm: Gemm, gpu: Gpu, clock: float, hbm_bytes: float, splits: Ints
    ) -> Floats:
        """Waves at the pace of the pipes, slowed down by what they ask of L2 and HBM at the least:
        `waves.equal_waves` without what is read again from HBM, and with one stretch for all."""
        rows, columns = (side[:, None] for side in self._grid(gemm))
        slots, alone, shared = self.slots[:, None], self.alone[:, None], self.shared[:, None]
        split = splits > 1
        items = rows * columns * splits * gemm.groups
        asked = gemm.a_bytes * columns / self.cluster_n[:, None]
        asked = asked + gemm.w_bytes * rows / self.cluster_m[:, None]
        stored = gemm.c_bytes * np.where(split, splits * (PARTIAL_BYTES / OUTPUT_BYTES), 1.0)
        sms = gpu.sm.count
        slices = -(-gemm.k // self.keys[:, None])
        steps = -(-slices // splits)
        units = steps + stored / items / edge_rate(gpu, items) / alone
        full, rest = np.divmod(items, slots)
        pace_full = per_cta(alone, shared, -(-slots // sms))
        pace_rest = per_cta(alone, shared, -(-rest // sms))
        loops = units * (full * pace_full + (rest > 0) * pace_rest) / clock
        l2_us = (asked + stored) / (gpu.l2.bytes_per_clock * clock)
        load = np.maximum(l2_us, hbm_bytes / (gpu.hbm.sustained_gb_per_s * 1e3)) / loops
        ends = self.end[:, None] * np.minimum(-(-slots // sms), -(-items // sms)) / clock
        starts = (full + (rest > 0)) * (gpu.cta.latency_ns / NS_PER_US + np.where(split, 0.0, ends))
        reduction = gpu.launch.graph_us + gpu.launch.shortest_kernel_us
        gaps = gpu.launch.graph_us + split * reduction
        least: Floats = gaps + starts + loops * stretches(load)
        return least


def candidates(
    slots: dict[GemmTile, int], steps: Sequence[StepTime], ends: Sequence[float], element: int
) -> Candidates:
    """The tiles as columns."""
    tiles = tuple(slots)

    def ints(values: Sequence[int]) -> Ints:
        return np.array(values, dtype=np.int64)

    return Candidates(
        tiles=tiles,
        rows=ints([t.block_m for t in tiles]),
        columns=ints([t.block_n for t in tiles]),
        keys=ints([t.keys(element) for t in tiles]),
        cluster_m=ints([t.cluster_m for t in tiles]),
        cluster_n=ints([t.cluster_n for t in tiles]),
        slots=ints([slots[t] for t in tiles]),
        alone=np.array([s.alone for s in steps]),
        shared=np.array([s.shared for s in steps]),
        end=np.array(ends),
    )
