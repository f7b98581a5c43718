"""Progress for people: a line redrawn on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, ProgressColumn, Task, TaskID
from rich.text import Text

from sage_bench.utils.files import write_json
from sage_bench.utils.secrets import masked_text

PLAIN_EVERY = 30.0  # seconds between plain lines
# a bar of a child process writes its state into this file instead of drawing
REPORT_TO = "SAGEBENCH_PROGRESS_FILE"
BAR_WIDTH = 20
SHORTEST_NAME = 8  # characters of a task's name that are kept on the narrowest terminal


class Log(Console):
    """A console whose text has stars where it would show a key."""

    def print(self, *objects: Any, **how: Any) -> None:
        """As rich prints, with the secrets of texts masked."""
        safe = [masked_text(thing) if isinstance(thing, str) else thing for thing in objects]
        super().print(*safe, **how)


def stderr() -> Console:
    """Logs and progress go to stderr; results alone go to stdout.

    Text is printed as it is: a folder called `[/x]` is no markup.
    """
    return Log(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)


def first_process() -> bool:
    """Whether this process speaks for the run: `torchrun` and accelerate number them."""
    return os.environ.get("RANK", "0") == "0"


def fancy() -> bool:
    """Is there a terminal to draw on?"""
    return sys.stderr.isatty() and "NO_COLOR" not in os.environ


def reported(file: Path) -> tuple[float, str]:
    """(share done, note) of the child process that reports to a file; it may not have begun."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return min(1.0, found["done"] / max(found["total"], 1)), str(found["note"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0, "loading"  # not written yet, or by a run of another version


# ---- one line -----------------------------------------------------------------------------------
def status_line(
    name: str, counts: str, eta: str, elapsed: str, note: str, share: float, width: int
) -> str:
    """The state of a task in at most `width` characters.

    Counts and remaining time come first, since they are what a person looks for; what does not fit
    beside them is left out, and a long name is shortened.

    >>> status_line("train sage", "12/40", "eta 35 s", "15 s", "reward 0.31", 0.3, 24)
    'train sa… 12/40 eta 35 s'
    >>> status_line("train sage", "12/40", "eta 35 s", "15 s", "reward 0.31", 0.3, 80)
    'train sage 12/40 ━━━━━━╺╺╺╺╺╺╺╺╺╺╺╺╺╺ eta 35 s 15 s reward 0.31'
    """
    needed = [part for part in (counts, eta) if part]
    room = width - sum(len(part) + 1 for part in needed)
    shown = name if len(name) <= room else shorten(name, max(room, SHORTEST_NAME))
    left = room - len(shown)
    # the least important last: each is shown where it still fits
    extras = {"elapsed": elapsed, "bar": _bar(share), "note": note}
    chosen = {}
    for kind, part in extras.items():
        if part and len(part) + 1 <= left:
            chosen[kind] = part
            left -= len(part) + 1
    if note and "note" not in chosen and left > SHORTEST_NAME:
        chosen["note"] = shorten(note, left - 1)
    order = (shown, counts, chosen.get("bar"), eta, chosen.get("elapsed"), chosen.get("note"))
    return " ".join(part for part in order if part)[:width]


def shorten(text: str, width: int) -> str:
    """At most `width` characters of a text, with an ellipsis where something is left out.

    >>> shorten("runs/qwen2.5", 8), shorten("runs", 8)
    ('runs/qw…', 'runs')
    """
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def _bar(share: float) -> str:
    full = round(min(max(share, 0.0), 1.0) * BAR_WIDTH)
    return "━" * full + "╺" * (BAR_WIDTH - full)


def duration(seconds: float) -> str:
    """A time in two figures or three.

    >>> duration(35), duration(300), duration(9000)
    ('35 s', '5 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


class StatusColumn(ProgressColumn):
    """The only column of our progress displays: it knows how wide the terminal is."""

    max_refresh = 0.5

    def __init__(self, console: Console):
        super().__init__()
        self.console = console

    def render(self, task: Task) -> Text:
        counts = f"{task.completed:.0f}/{task.total:.0f}" if task.total else ""
        remaining = task.fields.get("eta")
        if remaining is None and task.time_remaining is not None and not task.finished:
            remaining = f"eta {duration(task.time_remaining)}"
        line = status_line(
            task.description,
            counts,
            remaining or "",
            "" if task.elapsed is None else duration(task.elapsed),
            str(task.fields.get("note") or ""),
            (task.completed / task.total) if task.total else 0.0,
            self.console.width,
        )
        return Text(line, no_wrap=True)


def display(console: Console | None = None) -> Progress:
    """A progress display that fits any terminal; its tasks may have the fields `note` and `eta`."""
    console = console or stderr()
    return Progress(StatusColumn(console), console=console)


# ---- one task -----------------------------------------------------------------------------------
class Bar:
    """One task with a total, a description and a note (`reward .31, 12 s/step`).

    Use as a context manager.
    """

    def __init__(self, what: str, total: int, done: int = 0, *, quiet: bool = False):
        self.what = what
        self.total = total
        self.done = done
        self.note = ""
        self.quiet = quiet
        self.began = time.monotonic()
        self.last_line = self.began
        self.before = done
        self.progress: Progress | None = None
        self.task = TaskID(0)
        self.report_to = os.environ.get(REPORT_TO)

    def __enter__(self) -> Bar:
        if self.report_to:
            self._report()
        elif not self.quiet and fancy():
            self.progress = display()
            self.progress.start()
            self.task = self.progress.add_task(
                self.what, total=self.total, completed=self.done, note=""
            )
        elif not self.quiet:
            self._line("" if self.total else "starting")
        return self

    def advance(self, by: int = 1, note: str | None = None) -> None:
        """Count some more as done."""
        self.set(self.done + by, note=note)

    def set(self, done: int, total: int | None = None, note: str | None = None) -> None:
        """Say how much is done; total and note stay unless given."""
        self.done = done
        self.total = total or self.total
        if note is not None:
            self.note = note
        if self.report_to:
            self._report()
        elif self.progress:
            self.progress.update(self.task, completed=done, total=self.total, note=self.note)
        elif not self.quiet and self._is_due():
            self.last_line = time.monotonic()
            self._line(f"{self.eta()} {self.note}".strip())

    def _is_due(self) -> bool:
        return time.monotonic() - self.last_line > PLAIN_EVERY or self.done >= self.total

    def _report(self) -> None:
        state = {"what": self.what, "done": self.done, "total": self.total, "note": self.note}
        write_json(Path(str(self.report_to)), state)

    def eta(self) -> str:
        """The remaining time in words, "" where there is nothing to tell it from."""
        made = self.done - self.before
        if made <= 0 or self.done >= self.total:
            return ""
        seconds = (time.monotonic() - self.began) / made * (self.total - self.done)
        return f"eta {seconds:.0f} s"

    def _line(self, text: str) -> None:
        print(f"{self.what}: {self.done}/{self.total} {text}".rstrip(), file=sys.stderr, flush=True)

    def __exit__(self, *exc: object) -> None:
        if self.progress:
            self.progress.stop()
