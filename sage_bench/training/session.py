"""A run, how far it is, and one process at work on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sage_bench.config.schema import RunConfig
from sage_bench.data.problems import Loaded
from sage_bench.engines.base import Engine
from sage_bench.methods.base import Context, Method
from sage_bench.training.heartbeat import Heartbeat, WatchedEngine
from sage_bench.training.recording import Recorder
from sage_bench.training.services import ServiceWatch
from sage_bench.training.sinks import NoSinks, Sinks
from sage_bench.training.stopping import Stop
from sage_bench.types import Problem


class RunRecords(Protocol):
    """What describes a run in its folder (`sage_bench.training.setup.Records`)."""

    def check(self, folder: Path) -> list[str]: ...
    def write(self, folder: Path, step: int, accepted: list[str]) -> None: ...
    def marks(self, folder: Path) -> dict[str, list[str]]: ...
    def base(self) -> dict[str, str]: ...
    def degrade(self, folder: Path, text: str) -> None: ...


@dataclass
class Run:
    """Everything a run consists of, built by `sage_bench.training.setup`.

    overwrite: what lies in the folder is moved to .trash first.
    """

    config: RunConfig
    folder: Path
    context: Context
    method: Method
    engine: Engine
    data: Loaded
    validation: Sequence[Problem]
    steps: int
    records: RunRecords
    quiet: bool = False
    overwrite: bool = False


@dataclass
class TrainState:
    """How far a run is; travels with the checkpoint.

    step: steps done. batches: batches of prompts taken (more than steps when groups are replaced).
    rollouts: completions sampled.
    """

    step: int = 0
    batches: int = 0
    rollouts: int = 0


@dataclass
class Session:
    """One process at work on a run: where it stands, and what it writes to."""

    run: Run
    state: TrainState
    sinks: Sinks | NoSinks
    heart: Heartbeat
    engine: WatchedEngine
    stop: Stop
    budget: int | None  # completions after which the method ends the run
    services: ServiceWatch
    recorder: Recorder | None = None  # where every draw is kept
    warned: set[str] = field(default_factory=set)  # events the user was told of

    @property
    def done(self) -> bool:
        """All steps are taken, or the method's budget of completions is spent."""
        if self.state.step >= self.run.steps:
            return True
        return self.budget is not None and self.state.rollouts >= self.budget
