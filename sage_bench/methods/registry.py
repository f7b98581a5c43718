"""The registry of backends: training methods by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sage_bench.utils.registry import Registry

if TYPE_CHECKING:
    from sage_bench.methods.base import Method

BACKENDS: Registry[type[Method]] = Registry(
    "backend", package="sage_bench.backends", group="sage_bench.backends"
)
register_backend = BACKENDS.register
