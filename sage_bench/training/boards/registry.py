"""The registry of sinks: programs that show the numbers of a training run."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from sage_bench.utils.errors import UsageError
from sage_bench.utils.registry import Registry


class Board(Protocol):
    """A sink. Register a class with `@register_sink("name")`; it is made when a run begins or goes
    on, with the run's folder, the step it goes on from, and the values of its configuration.

    needs: the package that has to be installed, "" for none. Whatever a sink raises ends the sink
    and not the run, but for a `SageBenchError`.
    """

    needs: str

    def __init__(self, folder: Path, step: int, config: Mapping[str, Any]): ...

    def scalars(self, group: str, step: int, values: Mapping[str, float]) -> None:
        """Numbers of one step; group is `train` or `validation`."""
        ...

    def flush(self) -> None:
        """Before a checkpoint."""
        ...

    def close(self) -> None: ...


SINKS: Registry[type[Board]] = Registry(
    "sink", package="sage_bench.training.boards", group="sage_bench.sinks"
)
register_sink = SINKS.register


def check_sinks(names: list[str]) -> None:
    """Raise `UsageError` for a sink that is not known, or whose package is not installed."""
    for name in names:
        needs = SINKS.get(name).needs
        if needs and find_spec(needs) is None:
            raise UsageError(
                f"the sink `{name}` needs the package {needs}, which is not installed",
                where="log.sinks",
                remedy=f"pip install '{needs}' (or 'sage-bench[{name}]'), or leave the sink out",
            )
