"""A GPU as dense matrix products see it."""

from gpusim.spec.gpu import Gpu


def dense_profile(gpu: Gpu) -> Gpu:
    """The profile with the constants of matrix products (`gemm`) in the place of attention's."""
    return gpu
