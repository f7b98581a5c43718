"""HINT and everything it needs."""

from sage_bench.backends.hint.method import HINT, HINTConfig

__all__ = ["HINT", "HINTConfig"]
