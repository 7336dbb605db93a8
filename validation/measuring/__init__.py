"""Measures the project's own Triton kernels: `python -m validation.measure`.

`shapes` says of what, `cases` predicts and orders it, `estimate` says how long that takes, `rows`
keeps the file, `report` prints. `launching`, `checks`, `bench` and `loop` need Torch and Triton.
"""
