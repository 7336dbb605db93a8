"""The kernels that the microbenchmarks time, in Triton; only what measures imports them."""
