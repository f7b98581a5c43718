"""The registry of engines: who answers requests and applies rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sage_bench.utils.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from sage_bench.engines.base import Engine

ENGINES: Registry[Callable[..., Engine]] = Registry(
    "engine", package="sage_bench.engines", group="sage_bench.engines"
)
register_engine = ENGINES.register
