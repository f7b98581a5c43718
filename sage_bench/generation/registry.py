"""The registry of samplers: who draws completions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sage_bench.utils.registry import Registry

if TYPE_CHECKING:
    from sage_bench.generation.samplers.base import Sampler

SAMPLERS: Registry[type[Sampler]] = Registry(
    "sampler", package="sage_bench.generation.samplers", group="sage_bench.samplers"
)
register_sampler = SAMPLERS.register
