"""Runs: one call, all of a workload, whole files, and schedules ranked with reasons."""
