"""Benchmarks: one lm-eval YAML a benchmark, usable by bare `lm_eval run --include_path` too."""
