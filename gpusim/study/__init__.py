"""Runs: one (simulate), and later many."""
