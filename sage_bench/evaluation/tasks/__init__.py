"""Benchmark tasks: which there are, where their rows come from, and whether they are what they
say."""
