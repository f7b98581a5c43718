"""What a run is doing now, look after look: from its files alone, so a restart changes nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sage_bench.data.schema import METRICS, VALIDATION
from sage_bench.reporting.status import RECENT, RunStatus, status
from sage_bench.utils.errors import DataError, UsageError
from sage_bench.utils.progress import duration

BARS = "▁▂▃▄▅▆▇█"
SHOWN = 40  # steps of a small curve
STOPPED = ("done", "failed", "died", "interrupted")


@dataclass(frozen=True)
class View:
    """One look. reward, no_signal (share of groups that were all wrong), hinted: of the last step;
    curves: the same over the last steps; tokens_a_second: over the last steps; validation: the last
    reward without hints, with its step."""

    status: RunStatus
    reward: float | None = None
    no_signal: float | None = None
    hinted: float | None = None
    tokens_a_second: float | None = None
    validation: tuple[int, float] | None = None
    reward_curve: tuple[float, ...] = ()
    no_signal_curve: tuple[float, ...] = ()
    hinted_curve: tuple[float, ...] = ()

    @property
    def key(self) -> tuple[Any, ...]:
        """What has to change for a new line to be worth printing."""
        return (self.status.state, self.status.done, self.status.note if self.is_stopped else "")

    @property
    def is_stopped(self) -> bool:
        return self.status.state in STOPPED

    def line(self) -> str:
        """The view on one line, for logs."""
        run = self.status
        parts = [f"{run.unit.removesuffix('s')} {progress(run)}", run.state]
        if self.reward is not None:
            parts.append(f"reward {self.reward:.3f}")
        if self.no_signal is not None:
            parts.append(f"no signal {self.no_signal:.0%}")
        if self.hinted is not None:
            parts.append(f"hinted {self.hinted:.0%}")
        if self.tokens_a_second is not None:
            parts.append(f"{self.tokens_a_second:,.0f} tokens/s")
        if self.validation is not None:
            parts.append(f"validation {self.validation[1]:.3f} at {self.validation[0]}")
        if run.eta is not None:
            parts.append(f"left {duration(run.eta)}")
        if self.is_stopped and run.state != "done" and run.note:
            parts.append(run.note)
        return "  ".join(parts)


def look(folder: Path) -> View:
    """The state of the one run in a folder.

    Raises `UsageError` where there is none, or more than one.
    """
    (run, *others) = status(folder)
    if others:
        raise UsageError(
            f"there are {len(others) + 1} runs in this folder",
            where=str(folder),
            remedy=f"give one of them, e.g. {run.folder}; `sage-bench status` lists all",
        )
    if run.kind != "train":
        return View(run)
    where = Path(run.folder)
    try:
        steps: list[dict[str, Any]] = [dict(row) for row in METRICS.read(where / "metrics.jsonl")]
        measured = list(VALIDATION.read(where / "validation.jsonl"))
    except DataError as error:
        return View(RunStatus(**{**run.as_dict(), "state": "unreadable", "note": str(error)}))
    last = steps[-1] if steps else {}
    return View(
        run,
        reward=last.get("reward"),
        no_signal=last.get("dead_wrong"),
        hinted=last.get("hinted"),
        tokens_a_second=_speed(steps[-RECENT:]),
        validation=(measured[-1]["step"], measured[-1]["reward"]) if measured else None,
        reward_curve=_curve(steps, "reward"),
        no_signal_curve=_curve(steps, "dead_wrong"),
        hinted_curve=_curve(steps, "hinted"),
    )


def _speed(steps: Sequence[dict[str, Any]]) -> float | None:
    seconds = sum(row.get("seconds/step") or 0.0 for row in steps)
    tokens = sum(row.get("tokens") or 0 for row in steps)
    return tokens / seconds if seconds else None


def _curve(steps: Sequence[dict[str, Any]], key: str) -> tuple[float, ...]:
    values = (row.get(key) for row in steps[-SHOWN:])
    return tuple(float(value) for value in values if value is not None)


def progress(run: RunStatus) -> str:
    """`12/40`; `12/?` where the end is not known."""
    return f"{run.done}/{'?' if run.total is None else run.total}"


def small_curve(values: Sequence[float], top: float = 1.0) -> str:
    """Values between 0 and `top` as a line of blocks; larger ones raise the top.

    >>> small_curve([0.0, 0.5, 1.0]), small_curve([])
    ('▁▅█', '')
    """
    top = max([top, *values])
    last = len(BARS) - 1
    return "".join(BARS[round(max(value, 0.0) / top * last)] for value in values)


def watch(folder: Path, every: float, *, leave_when_stopped: bool = False) -> Iterator[View]:
    """A view every so many seconds, until the run is done.

    A run that was interrupted, died or failed is watched on: it may be started again.
    leave_when_stopped: end then too. Raises `UsageError` where there is no run at the first look;
    one that is moved away later (`--overwrite`) is waited for.
    """
    view = look(folder)
    while True:
        yield view
        if view.status.state == "done" or (leave_when_stopped and view.is_stopped):
            return
        time.sleep(every)
        try:
            view = look(folder)
        except UsageError as error:
            view = View(RunStatus(str(folder), "?", "not begun", 0, None, "steps", note=error.what))
