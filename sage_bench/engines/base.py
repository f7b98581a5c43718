"""The engine protocol and what is checked against it before the first step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from sage_bench.generation.samplers.base import Sampler
from sage_bench.methods.base import Method
from sage_bench.methods.driver import Runner
from sage_bench.methods.hooks import UpdateHooks
from sage_bench.methods.objective import Objective
from sage_bench.types import Row
from sage_bench.utils.errors import UsageError

Stats = dict[str, float]


class Engine(Runner, Protocol):
    """Answers requests, applies rows, saves itself.

    sampler: who draws its completions; an evaluation can draw from it, too. run(asks) is
    collective: every rank calls it, an empty list is allowed. any(flag) is an all-reduce OR (the
    identity on one process). update(rows, objective, hooks) is one rollout batch: one or more
    optimiser steps, with the hooks of the method (`sage_bench.methods.hooks`); it returns means for
    the log. save and load hold everything that decides the next step: weights,
    optimiser, schedule. capabilities: "sample", "score", and "policy" where requests of a method's
    own are answered by their `answer`.
    """

    capabilities: frozenset[str]
    sampler: Sampler

    def update(
        self, rows: Sequence[Row], objective: Objective, hooks: UpdateHooks = ...
    ) -> Stats: ...
    def save(self, folder: Path) -> None: ...
    def load(self, folder: Path) -> None: ...
    def describe(self) -> dict[str, Any]: ...


def check_needs(method: Method, engine: Engine, engine_name: str) -> None:
    """Raise `UsageError` when the method asks for something the engine cannot answer."""
    missing = method.needs - engine.capabilities
    if missing:
        raise UsageError(
            f"backend `{type(method).__name__}` needs {sorted(missing)}, which engine"
            f" `{engine_name}` does not offer",
            remedy=(
                "choose another engine (`sage-bench ls engines`); this one offers"
                f" {sorted(engine.capabilities)}"
            ),
        )
