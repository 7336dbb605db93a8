"""The schedules as real kernels, in Triton: what the model predicts can be run, counted, compiled.

Each file has kernels in the order of a Triton tutorial: the kernels, a wrapper that takes a
`Problem`, and beside them what they cost (`Cost`). Nothing here is needed to predict.
"""
