"""Weights & Biases, and trackio: `log.sinks=[wandb]`, `log.sinks=[trackio]`.

Both take their accounts, folders and modes from their own variables (`WANDB_MODE=offline`,
`TRACKIO_DIR`). For wandb the step is a value of each point and the axis of the others: a run that
goes back to a checkpoint writes some steps again, and wandb drops points at steps it has passed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sage_bench.training.boards.registry import register_sink
from sage_bench.utils.secrets import masked

STEP = "step"


def run_id(folder: Path) -> str:
    """The same at every start of the run, so that a resumed one goes on in the same place."""
    return hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]


def named(group: str, values: Mapping[str, float]) -> dict[str, float]:
    """A row of theirs.

    >>> named("train", {"reward": 0.5})
    {'train/reward': 0.5}
    """
    return {f"{group}/{key}": value for key, value in values.items()}


@register_sink("wandb")
class Wandb:
    """One run of Weights & Biases."""

    needs = "wandb"

    def __init__(self, folder: Path, step: int, config: Mapping[str, Any]):
        import wandb

        self.run: Any = wandb.init(
            project=config["log.project"],
            name=folder.resolve().name,
            id=run_id(folder),
            resume="allow",
            dir=str(folder),
            config=masked(dict(config)),
        )
        self.run.define_metric(STEP)
        self.run.define_metric("*", step_metric=STEP)

    def scalars(self, group: str, step: int, values: Mapping[str, float]) -> None:
        self.run.log(named(group, values) | {STEP: step})

    def flush(self) -> None:
        """It writes by itself."""

    def close(self) -> None:
        self.run.finish()


@register_sink("trackio")
class Trackio:
    """One run of trackio, on this machine unless its own settings say otherwise."""

    needs = "trackio"

    def __init__(self, folder: Path, step: int, config: Mapping[str, Any]):
        import trackio

        self.run: Any = trackio.init(
            project=config["log.project"],
            name=f"{folder.resolve().name}-{run_id(folder)}",
            resume="allow",
            config=masked(dict(config)),
            embed=False,
        )

    def scalars(self, group: str, step: int, values: Mapping[str, float]) -> None:
        self.run.log(named(group, values), step=step)

    def flush(self) -> None:
        """It writes by itself."""

    def close(self) -> None:
        self.run.finish()
