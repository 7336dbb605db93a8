"""Measures the project's own Triton kernels: `python -m validation.measure`.

`shapes` says of what, `cases` predicts and orders it, `estimate` says how long that takes, `rows`
keeps the file, `report` prints. `loop` hands each case to the process of its kernel (`worker`),
where `measurer` checks and times it with `launching`, `checks` and `bench`, which need Torch and
Triton; `reply` is what comes back.
"""
