"""The registry of step judges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sage_bench.utils.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from sage_bench.judges.base import Judge

JUDGES: Registry[Callable[..., Judge]] = Registry(
    "judge", package="sage_bench.judges", group="sage_bench.judges"
)
register_judge = JUDGES.register
