"""SGPO and everything it needs."""

from sage_bench.backends.sgpo.method import PRESETS, SGPO, SGPOConfig

__all__ = ["PRESETS", "SGPO", "SGPOConfig"]
