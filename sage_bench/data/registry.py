"""The registry of datasets: sources of training problems by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sage_bench.utils.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

DATASETS: Registry[Callable[[], Iterable[Mapping[str, Any]]]] = Registry(
    "dataset", package="sage_bench.data", group="sage_bench.datasets"
)
register_dataset = DATASETS.register
