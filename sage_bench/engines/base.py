"""The engine protocol and what is checked against it before the first step."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from sage_bench.generation.samplers.base import Sampler
from sage_bench.methods.base import Method
from sage_bench.methods.driver import Runner
from sage_bench.methods.hooks import UpdateHooks
from sage_bench.methods.objective import Objective
from sage_bench.types import Row
from sage_bench.utils.errors import UsageError

Stats = dict[str, float]


@dataclass(frozen=True, slots=True)
class RolloutBatch:
    """The rows of one rollout batch and how they are applied (see `Engine.update`)."""

    rows: Sequence[Row]
    objective: Objective
    hooks: UpdateHooks


# yields batches, is sent what `update` says of each; between two of them weights do not change
TrainingProgram: TypeAlias = Generator[RolloutBatch, Stats, None]


class Engine(Runner, Protocol):
    """Answers requests, applies rows, saves itself.

    sampler: who draws its completions; an evaluation can draw from it, too. run(asks) is
    collective: every rank calls it, an empty list is allowed. any(flag) is an all-reduce OR (the
    identity on one process). update(rows, objective, hooks) is one rollout batch: one or more
    optimiser steps, with the hooks of the method (`sage_bench.methods.hooks`); it returns means for
    the log. save and load hold everything that decides the next step: weights, optimiser,
    schedule. weights_digest(), collective too, names the weights as they are now, for records of
    what they drew. capabilities: "sample", "score", and "policy" where requests of a method's own
    are answered by their `answer`.

    An engine whose library has a training loop of its own brings `follow(program)` in place of
    `update` (see `follow`). One that works in several processes has `ranks`
    (`sage_bench.engines.ranks.Ranks`); `save` and `load` are then called on every rank, and rank 0
    writes.
    """

    capabilities: frozenset[str]
    sampler: Sampler

    def update(
        self, rows: Sequence[Row], objective: Objective, hooks: UpdateHooks = ...
    ) -> Stats: ...
    def save(self, folder: Path) -> None: ...
    def load(self, folder: Path) -> None: ...
    def weights_digest(self) -> str: ...
    def describe(self) -> dict[str, Any]: ...


def follow(engine: Engine, program: TrainingProgram) -> None:
    """Let an engine work through a training program: one update for each batch it yields."""
    own = getattr(engine, "follow", None)
    if own is not None:
        own(program)
        return
    try:
        batch = next(program)
        while True:
            batch = program.send(engine.update(batch.rows, batch.objective, batch.hooks))
    except StopIteration:
        return


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
