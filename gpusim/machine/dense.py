"""A GPU as dense matrix products see it."""

from gpusim.spec.gpu import Gpu


def dense_profile(gpu: Gpu) -> Gpu:
    """The profile with the numbers of matrix products (`gemm`), if it has any, in their places.

    Products stream long runs of weights where attention gathers pieces of a cache; they draw more
    power; and their kernels wait differently. Everything else is the same machine.
    """
    own = gpu.gemm
    if own is None:
        return gpu
    parts = {
        "hbm": gpu.hbm.model_copy(update={"sustained_gb_per_s": own.hbm_gb_per_s}),
        "clock": gpu.clock.model_copy(update={"steady_mhz": own.steady_mhz}),
        "cta": gpu.cta.model_copy(update={"sync_clocks": own.sync_clocks}),
    }
    return gpu.model_copy(update=parts)
