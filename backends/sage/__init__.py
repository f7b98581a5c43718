"""SAGE, SAGE-light and everything they need."""

from sage_bench.backends.sage.hints import write_hints
from sage_bench.backends.sage.light import SAGELight, SAGELightConfig
from sage_bench.backends.sage.method import SAGE, SAGEConfig

__all__ = ["SAGE", "SAGEConfig", "SAGELight", "SAGELightConfig", "write_hints"]
