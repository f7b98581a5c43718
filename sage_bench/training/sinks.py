"""Where the numbers of a run go: JSON lines always, TensorBoard when asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sage_bench.data.schema import VALIDATION
from sage_bench.utils.files import Appender, keep_rows, writing


class Sinks:
    """The log files of a run.

    metrics.jsonl (a row a step), ledger.jsonl (a row a group), completions.jsonl (some texts),
    validation.jsonl, tensorboard/. `step` is where the run goes on: rows of later steps, written
    before a kill, are dropped and will be written again.
    """

    def __init__(self, folder: Path, step: int, tensorboard: bool):
        self.folder = folder
        for name in ("metrics", "ledger", "completions"):
            keep_rows(folder / f"{name}.jsonl", lambda row: bool(row["step"] < step))
        # a checkpoint's own validation precedes the step that goes on from it
        keep_rows(folder / "validation.jsonl", lambda row: bool(row["step"] <= step))
        names = ("metrics", "ledger", "completions", "validation")
        self.files = {name: Appender(folder / f"{name}.jsonl") for name in names}
        self.board: Any = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            with writing(folder / "tensorboard"):
                self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=step)
        self.validated = False
        for row in VALIDATION.read(folder / "validation.jsonl"):
            if row["step"] == step:
                self.validated = True
                # opening the board purged the points from `step` on, this one among them
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
        if self.board:
            with writing(self.folder / "tensorboard"):
                self.board.flush()

    def close(self) -> None:
        for file in self.files.values():
            file.close()
        if self.board:
            with writing(self.folder / "tensorboard"):
                self.board.close()

    def _scalars(self, group: str, step: int, values: Mapping[str, Any]) -> None:
        if not self.board:
            return
        with writing(self.folder / "tensorboard"):
            for key, value in values.items():
                if isinstance(value, (int, float)):
                    self.board.add_scalar(f"{group}/{key}", value, step)


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
