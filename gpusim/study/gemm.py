"""A matrix product on a GPU: the shipped tile that the model finds fastest, and its time."""

from dataclasses import dataclass, field

from gpusim.analytic.engine import predict_calls
from gpusim.analytic.gemm_bound import Candidates, candidates
from gpusim.errors import SpecError
from gpusim.machine.dense import dense_profile
from gpusim.machine.pipes import pipe_rate, tensor_rate
from gpusim.machine.place import place
from gpusim.machine.step_time import step_time
from gpusim.machine.traffic import miss
from gpusim.schedules.gemm import Gemm, GemmPlan, gemm_launches
from gpusim.schedules.gemm_tile import OUTPUT_BYTES, GemmTile, epilogue, gemm_step, shipped_tiles
from gpusim.schedules.launch import Launch, footprint
from gpusim.schedules.occupancy import slots_of
from gpusim.spec.attention import BYTES
from gpusim.spec.gpu import Gpu
from gpusim.spec.workload import check_conditions
from gpusim.study.simulate import check_engine
from gpusim.study.step_parts import Launches
from gpusim.units import US_PER_S

#: Plans that are predicted, of hundreds.
MOST_TRIED = 6
#: Planners that are kept, the newest ones: studies vary profiles by the hundred.
MOST_KEPT = 64


def predict_gemm(  # noqa: PLR0913 - named options, each with a default
    gpu: Gpu,
    m: int,
    n: int,
    k: int,
    *,
    dtype: str = "bf16",
    groups: int = 1,
    engine: str = "analytic",
    load: str | float = "steady",
    warm: bool = False,
) -> Launches:
    """Predict C[m,n] = A[m,k]·W[k,n], or `groups` such products side by side in one launch.

    The plan (tile, splits of K) is the fastest that libraries have, by the closed form; `engine`
    then times it. What was asked before is remembered.

    Args:
        gpu: a profile.
        m: rows of A and C: tokens.
        n: columns of W and C: features.
        k: what is summed over.
        dtype: of A and W: 'bf16', 'fp16' or 'fp8'; C is in 16 bit. What quantises A is not counted.
        groups: equal products, as of a mixture of experts.
        engine: 'analytic' or 'sim'.
        load: 'benchmark', 'steady' or seconds of continuous load.
        warm: the same product with the same buffers ran just before.

    Returns:
        The launches: the product, and where K is split the kernel that adds its parts.

    Raises:
        SpecError: for a size below 1, or a type that the GPU does not multiply.
    """
    check_engine(engine)
    check_conditions("warm" if warm else "cold", load)
    memory = planner(gpu, dtype, load).results
    asked = (m, n, k, groups, engine, warm)
    if asked not in memory:
        gemm = Gemm(m=m, n=n, k=k, dtype=dtype, groups=groups)
        memory[asked] = _predict(gpu, gemm, engine, load, warm=warm)
    return memory[asked]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planner:
    """What all products of a type on a GPU share.

    Attributes:
        gpu: the profile, as dense products see it.
        load: decides the clock.
        tiles: the shipped tiles, and what a step of each takes.
        results: predictions by what was asked.
    """

    gpu: Gpu
    load: str | float
    tiles: Candidates
    slots: dict[GemmTile, int]
    results: dict[tuple[object, ...], Launches] = field(default_factory=dict)

    def plan(self, gemm: Gemm, *, around: tuple[Launch, ...] = (), warm: bool = False) -> GemmPlan:
        """The plan with the least time by the closed form.

        Args:
            gemm: the product.
            around: other launches between one call and the next.
            warm: whether calls follow one another.
        """
        return self._fastest(gemm, around, warm=warm)[0]

    def fastest(self, gemm: Gemm, *, warm: bool) -> Launches:
        """The launches of that plan, by the closed form."""
        return self._fastest(gemm, (), warm=warm)[1]

    def _fastest(
        self, gemm: Gemm, around: tuple[Launch, ...], *, warm: bool
    ) -> tuple[GemmPlan, Launches]:
        """Of all plans, the `MOST_TRIED` with the least bounds (`Candidates`) are looked at: the
        first, and those of the others whose bound is below its time."""
        first = gemm.a_bytes + gemm.w_bytes + gemm.c_bytes
        if warm:  # of the weights, what calls in between leave in L2 is found there
            passed = first + footprint(around)
            first = gemm.w_bytes * miss(self.gpu, passed)
        clock = self.gpu.clock_hz(self.load) / US_PER_S
        ordered = self.tiles.ordered(gemm, self.gpu, clock, first, MOST_TRIED)
        found = self._predicted(gemm, [ordered[0][1]], around, warm=warm)
        least_us = _time_us(found[0][1])
        others = [plan for bound, plan in ordered[1:] if bound < least_us]
        found += self._predicted(gemm, others, around, warm=warm)
        return min(found, key=lambda pair: _time_us(pair[1]))

    def _predicted(
        self, gemm: Gemm, plans: list[GemmPlan], around: tuple[Launch, ...], *, warm: bool
    ) -> list[tuple[GemmPlan, Launches]]:
        """Launches of plans by the closed form, without those around them."""
        calls = [self.launches(gemm, plan) for plan in plans]
        every = [(*call, *around) for call in calls]
        l2 = "warm" if warm else "cold"
        found = predict_calls(self.gpu, every, l2=l2, load=self.load)
        own = (each[: len(call)] for each, call in zip(found, calls, strict=True))
        return list(zip(plans, own, strict=True))

    def launches(self, gemm: Gemm, plan: GemmPlan) -> tuple[Launch, ...]:
        """The launches of a plan."""
        return gemm_launches(gemm, plan, self.gpu, self.slots[plan.tile])

    def time_us(
        self,
        gemm: Gemm,
        plan: GemmPlan,
        *,
        before: tuple[Launch, ...] = (),
        around: tuple[Launch, ...] = (),
        warm: bool = False,
        engine: str = "analytic",
    ) -> float:
        """Time of a product by a plan, and of launches before it, launch gaps included."""
        own = (*before, *self.launches(gemm, plan))
        if engine == "analytic":
            l2 = "warm" if warm else "cold"
            (found,) = predict_calls(self.gpu, [(*own, *around)], l2=l2, load=self.load)
            return _time_us(found[: len(own)])
        from gpusim.sim.engine import simulated_us

        placed = place((*own, *around), self.gpu, load=self.load, warm=warm)
        return sum(p.gap_us + simulated_us(p) for p in placed[: len(own)])


def _time_us(launches: Launches) -> float:
    return sum(launch.total_us for launch in launches)


def _predict(gpu: Gpu, gemm: Gemm, engine: str, load: str | float, *, warm: bool) -> Launches:
    tiles = planner(gpu, gemm.dtype, load)
    if engine == "analytic":
        return tiles.fastest(gemm, warm=warm)
    from gpusim.sim.engine import launch_results as simulate_launches

    launches = tiles.launches(gemm, tiles.plan(gemm, warm=warm))
    l2 = "warm" if warm else "cold"
    return simulate_launches(tiles.gpu, launches, l2=l2, load=load)[0]


#: By identity: a profile cannot be hashed. The profile is kept, so that no other takes its place.
_PLANNERS: dict[tuple[int, str, str | float], tuple[Gpu, Planner]] = {}


def planner(gpu: Gpu, dtype: str, load: str | float) -> Planner:
    """The planner of a GPU, made once.

    Raises:
        SpecError: for a type that the GPU does not multiply.
    """
    if not isinstance(load, str):  # seconds: as `Gpu.clock_hz` takes them
        load = "steady" if load > gpu.clock.power_limit_delay_s else "benchmark"
    key = id(gpu), dtype, load
    if key not in _PLANNERS:
        if len(_PLANNERS) >= MOST_KEPT:
            del _PLANNERS[next(iter(_PLANNERS))]
        _PLANNERS[key] = gpu, _new_planner(gpu, dtype, load)
    return _PLANNERS[key][1]


def _new_planner(gpu: Gpu, dtype: str, load: str | float) -> Planner:
    if dtype not in BYTES:
        raise SpecError(f"gemm.dtype: expected {', '.join(BYTES)}, found {dtype!r}")
    machine = dense_profile(gpu)
    slots, steps, ends = {}, [], []
    for tile in shipped_tiles(gpu, dtype):
        tensor_rate(gpu, tile.matrix_path, dtype)
        slots[tile] = slots_of(
            gpu,
            threads=tile.threads,
            registers=tile.registers,
            smem_bytes=tile.stages * tile.stage_bytes,
        )
        step = gemm_step(tile, dtype, BYTES[dtype])
        steps.append(step_time(machine, step, latency_clocks=gpu.l2.latency_clocks))
        ends.append(
            sum(
                amount / pipe_rate(machine, step, pipe)
                for pipe, amount in epilogue(tile, output_bytes=OUTPUT_BYTES).items()
            )
        )
    return Planner(
        gpu=machine, load=load, slots=slots, tiles=candidates(slots, steps, ends, BYTES[dtype])
    )
