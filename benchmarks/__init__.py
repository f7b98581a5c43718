"""What the work costs, side by side in one run: `python -m benchmarks --help`. Never timed tests:
times are printed, and exact counts are asserted under `tests/`."""
