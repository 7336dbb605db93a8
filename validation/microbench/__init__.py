"""Microbenchmarks: what a profile calls estimated or calibrated, measured on the GPU at hand.

Each file measures one thing (`hbm`, `l2`, `launch`, `tensor`, `exp2`, `clock`) and says how its
readings become numbers of the profile; the kernels stand in `kernels/`. `python -m
validation.microbench` runs them and writes a profile. Torch and Triton are imported where a kernel
is run, so that the plan can be read without either.
"""
