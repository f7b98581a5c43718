"""OAR-P and OAR-G and everything they need."""

from sage_bench.backends.oar.method import OARG, OARP, OARGConfig, OARPConfig

__all__ = ["OARG", "OARP", "OARGConfig", "OARPConfig"]
