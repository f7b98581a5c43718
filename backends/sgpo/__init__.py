"""SGPO and everything it needs."""

from sage_bench.backends.sgpo.method import PRESETS, SGPO, SGPOConfig
from sage_bench.backends.sgpo.offline import SGPOOffline, SGPOOfflineConfig

__all__ = ["PRESETS", "SGPO", "SGPOConfig", "SGPOOffline", "SGPOOfflineConfig"]
