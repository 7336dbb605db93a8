"""A ring of K and V tiles in shared memory, between a TMA producer and two consumers (Gluon).

KV tile i, counted as walked, from the last keys to the first, lives in stage i % STAGES in the
stage's round i // STAGES. A stage has four barriers, a pair for K and a pair for V:

    full     one arrival, the producer's `expect`, and the bytes of one box; consumers of tile i
             wait for round i // STAGES
    empty    two arrivals, one by each consumer when its products with the tile are done; before it
             loads tile i the producer waits for the round before, and round -1 counts as complete,
             as it does for a barrier just initialised

Parity tells rounds apart: full is never two rounds ahead of a consumer, which has not arrived at
empty, nor empty of the producer. All three walk the same number of tiles, at least one, so that
every wait is answered and no load is in flight when the CTA ends.
"""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import mbarrier, tma

# Triton 3.6 and 3.9 name it differently.
async_load = tma.async_load if hasattr(tma, "async_load") else tma.async_copy_global_to_shared


@gluon.jit
def wait_round(barriers, i, STAGES: gl.constexpr):
    """Waits until the barrier of stage i % STAGES has completed its round i // STAGES."""
    mbarrier.wait(barriers.index(i % STAGES), (i // STAGES) & 1)


@gluon.jit
def make_barriers(ARRIVALS: gl.constexpr, STAGES: gl.constexpr):
    """One barrier a stage."""
    barriers = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    for stage in gl.static_range(STAGES):
        mbarrier.init(barriers.index(stage), count=ARRIVALS)
    return barriers


@gluon.jit
def load_tile(X, at, num_tiles, tiles, full, empty, i):
    """Starts the load of the i-th tile of K or V, once its stage is free."""
    STAGES: gl.constexpr = tiles.shape[0]
    row = at[0] + (num_tiles - 1 - i) * tiles.shape[1]
    wait_round(empty, i + STAGES, STAGES)  # the round before has the parity of the round after
    mbarrier.expect(full.index(i % STAGES), X.block_type.nbytes)
    async_load(X, [row, at[1]], full.index(i % STAGES), tiles.index(i % STAGES))
