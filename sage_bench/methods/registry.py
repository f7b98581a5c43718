"""The registries of backends (training methods by name) and of what is measured in every run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sage_bench.utils.registry import Registry

if TYPE_CHECKING:
    from sage_bench.methods.base import Method
    from sage_bench.methods.hooks import Diagnostic

BACKENDS: Registry[type[Method]] = Registry(
    "backend", package="sage_bench.backends", group="sage_bench.backends"
)
register_backend = BACKENDS.register

# filled by modules of backends as they are imported, ours and those of plugins
DIAGNOSTICS: Registry[Diagnostic] = Registry("diagnostic")
register_diagnostic = DIAGNOSTICS.register
