"""Schedules: pure functions from (attention, GPU, tiling) to the launches a kernel family makes.

`SCHEDULES` lists them by name. A schedule counts work and never asks how long it takes.
"""
