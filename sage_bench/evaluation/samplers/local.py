"""The former name of `hf`, kept for code that imports it."""

from sage_bench.evaluation.samplers.hf import Hf as Local

__all__ = ["Local"]
