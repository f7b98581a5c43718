"""Where the numbers of a run go: JSON lines always, TensorBoard and other sinks when asked."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sage_bench.config.nesting import flatten
from sage_bench.config.schema import LogConfig, RunConfig
from sage_bench.data.schema import VALIDATION
from sage_bench.training.boards.registry import SINKS, Board
from sage_bench.utils.errors import SageBenchError
from sage_bench.utils.files import Appender, keep_rows
from sage_bench.utils.secrets import masked_text


class Sinks:
    """The log files of a run.

    metrics.jsonl (a row a step), ledger.jsonl (a row a group), completions.jsonl (some texts),
    validation.jsonl, and the sinks that were asked for. `step` is where the run goes on: rows of
    later steps, written before a kill, are dropped and will be written again.
    """

    def __init__(self, folder: Path, step: int, config: RunConfig):
        self.folder = folder
        for name in ("metrics", "ledger", "completions"):
            keep_rows(folder / f"{name}.jsonl", lambda row: bool(row["step"] < step))
        # a checkpoint's own validation precedes the step that goes on from it
        keep_rows(folder / "validation.jsonl", lambda row: bool(row["step"] <= step))
        names = ("metrics", "ledger", "completions", "validation")
        self.files = {name: Appender(folder / f"{name}.jsonl") for name in names}
        self.boards: dict[str, Board] = {}
        values = dict(flatten(config.model_dump()))
        for name in sink_names(config.log):
            self._open(name, folder, step, values)
        self.validated = False
        for row in VALIDATION.read(folder / "validation.jsonl"):
            if row["step"] == step:
                self.validated = True
                # opening TensorBoard purged the points from `step` on, this one among them
                self._scalars("validation", step, row)

    def step(
        self,
        step: int,
        metrics: Mapping[str, Any],
        ledger: Sequence[Mapping[str, Any]],
        completions: Sequence[Mapping[str, Any]],
    ) -> None:
        self.files["ledger"].write(*ledger)
        self.files["completions"].write(*completions)
        # last: a step counts as logged when its metrics are
        self.files["metrics"].write({"step": step, **metrics})
        self._scalars("train", step, metrics)

    def validation(self, step: int, row: Mapping[str, Any]) -> None:
        self.files["validation"].write({"step": step, **row})
        self._scalars("validation", step, row)

    def sync(self) -> None:
        """Before a checkpoint: what it will build on must be on disk."""
        for file in self.files.values():
            file.sync()
        for name, board in list(self.boards.items()):
            self._guarded(name, board.flush)

    def close(self) -> None:
        for file in self.files.values():
            file.close()
        for name, board in list(self.boards.items()):
            self._guarded(name, board.close)

    def _scalars(self, group: str, step: int, values: Mapping[str, Any]) -> None:
        numbers = {k: v for k, v in values.items() if isinstance(v, (int, float))}
        for name, board in list(self.boards.items()):
            # a service that takes no NaN would refuse the whole row
            shown = numbers if name == "tensorboard" else finite(numbers)
            self._guarded(name, partial(board.scalars, group, step, shown))

    def _open(self, name: str, folder: Path, step: int, values: Mapping[str, Any]) -> None:
        def make() -> None:
            self.boards[name] = SINKS.get(name)(folder, step, values)

        self._guarded(name, make)

    def _guarded(self, name: str, call: Callable[[], None]) -> None:
        """Call a sink. What it raises costs the sink and not the run: all numbers stay in
        metrics.jsonl. Our own errors (a full disk) are raised."""
        try:
            call()
        except SageBenchError:
            raise
        # a tracker's package may raise anything: no network, no account, another version
        except Exception as error:  # noqa: BLE001
            self.boards.pop(name, None)
            reason = masked_text(f"{type(error).__name__}: {error}")
            print(
                f"warning: the sink `{name}` failed and gets nothing more ({reason}); the numbers"
                " are in metrics.jsonl",
                file=sys.stderr,
                flush=True,
            )


def sink_names(config: LogConfig) -> list[str]:
    """The sinks of a run, each once.

    >>> sink_names(LogConfig(sinks=["wandb", "tensorboard"]))
    ['tensorboard', 'wandb']
    """
    first = ["tensorboard"] if config.tensorboard else []
    return list(dict.fromkeys([*first, *config.sinks]))


def finite(values: Mapping[str, float]) -> dict[str, float]:
    """The numbers that are neither NaN nor infinite."""
    return {key: value for key, value in values.items() if math.isfinite(value)}


class NoSinks:
    """Of the ranks that write no files."""

    validated = False

    def step(self, *_: object) -> None:
        """Rank 0 has the same rows."""

    def validation(self, *_: object) -> None:
        """Rank 0 has the same row."""

    def sync(self) -> None:
        """There is nothing to bring to the disk."""

    def close(self) -> None:
        """There is nothing open."""
