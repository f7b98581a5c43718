"""Evaluation: lm-eval tasks, our samplers, a store of every sample, tables as pure functions of
it."""
