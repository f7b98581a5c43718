"""Progress for people: bars on a terminal, one plain line now and then elsewhere."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from sage_bench.utils.files import write_json

PLAIN_EVERY = 30.0  # seconds between plain lines
REPORT_TO = (  # a bar of a child process writes its state here instead of drawing
    "SAGEBENCH_PROGRESS_FILE"
)


def stderr() -> Console:
    """Logs and progress go to stderr; results alone go to stdout."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def fancy() -> bool:
    return sys.stderr.isatty() and "NO_COLOR" not in os.environ


class Bar:
    """One task with a total, a description and a note (`reward .31, 12 s/step`). Use as a context
    manager."""

    def __init__(self, what: str, total: int, done: int = 0, *, quiet: bool = False):
        self.what, self.total, self.done, self.note, self.quiet = what, total, done, "", quiet
        self.began, self.told, self.before = time.monotonic(), time.monotonic(), done
        self.progress: Progress | None = None
        self.report_to = os.environ.get(REPORT_TO)

    def __enter__(self) -> Bar:
        if self.report_to:
            self._report()
        elif not self.quiet and fancy():
            columns: list[Any] = [
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("eta"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
            ]
            self.progress = Progress(*columns, console=stderr())
            self.progress.start()
            self.task = self.progress.add_task(
                self.what, total=self.total, completed=self.done, note=""
            )
        elif not self.quiet:
            self._line("starting" if not self.total else "")
        return self

    def advance(self, by: int = 1, note: str | None = None) -> None:
        self.set(self.done + by, note=note)

    def set(self, done: int, total: int | None = None, note: str | None = None) -> None:
        self.done, self.total, self.note = (
            done,
            total or self.total,
            self.note if note is None else note,
        )
        if self.report_to:
            self._report()
        elif self.progress:
            self.progress.update(self.task, completed=done, total=self.total, note=self.note)
        elif not self.quiet and (time.monotonic() - self.told > PLAIN_EVERY or done >= self.total):
            self.told = time.monotonic()
            self._line(f"{self.eta()} {self.note}".strip())

    def _report(self) -> None:
        write_json(
            Path(str(self.report_to)),
            {"what": self.what, "done": self.done, "total": self.total, "note": self.note},
        )

    def eta(self) -> str:
        made = self.done - self.before
        if made <= 0 or self.done >= self.total:
            return ""
        return f"eta {(time.monotonic() - self.began) / made * (self.total - self.done):.0f} s"

    def _line(self, text: str) -> None:
        print(f"{self.what}: {self.done}/{self.total} {text}".rstrip(), file=sys.stderr, flush=True)

    def __exit__(self, *exc: object) -> None:
        if self.progress:
            self.progress.stop()
