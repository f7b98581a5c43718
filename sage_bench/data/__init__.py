"""Problem sources: registered datasets, local files, the tiny world. `problems.load_problems` is
the way in."""
