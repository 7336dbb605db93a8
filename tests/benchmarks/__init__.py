"""What predictions cost; see `bench_cost.py`."""
