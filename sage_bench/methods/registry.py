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


def family(name: str) -> list[str]:
    """A backend's name, after the names of the backends its class derives from, the base first.

    >>> family("sgpo")
    ['grpo', 'sgpo']
    """
    names = {method: known for known, method in BACKENDS.items()}
    return [names[base] for base in reversed(BACKENDS.get(name).__mro__) if base in names]
