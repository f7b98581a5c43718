"""Signs of life: what a run is doing, for `sage-bench status`, and limits on how long it may.

A method's generator, a grader or a judge may hang. `status.json` says what was begun last, so its
age tells a hang from long work; `train.max_rounds` and `train.stall_minutes` end it.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias

from sage_bench.data.schema import TrainStatus
from sage_bench.engines.base import Engine, RolloutBatch
from sage_bench.engines.ranks import ALONE, Ranks
from sage_bench.grading.verdict import Grader, Verdict
from sage_bench.methods.hooks import UpdateHooks
from sage_bench.methods.objective import Objective
from sage_bench.types import Answer, Request, Row, Sample
from sage_bench.utils.errors import TrainingError

WAITING = "waiting for the other ranks"
Tap: TypeAlias = Callable[[Sequence[Request], Sequence[Answer]], None]


class Heartbeat:
    """Writes status.json at every sign of life, and stops a run that gives none.

    steps: planned. stall_minutes: how long Python code of ours or of a plugin may run between two
    signs (None: for ever); the engine's own work has no limit, since only its size decides. The
    limit needs the main thread's alarm; elsewhere there is none. ranks: each process but the first
    writes a file of its own, status.rank1.json, as long as the run goes on.
    """

    def __init__(
        self,
        folder: Path,
        steps: int,
        stall_minutes: float | None = None,
        ranks: Ranks = ALONE,
    ):
        self.folder = folder
        self.ranks = ranks
        self.file = status_file(folder, ranks.rank)
        self.status = TrainStatus(state="running", step=0, steps=steps)
        # only the main thread can be interrupted by a timer
        main = threading.current_thread() is threading.main_thread()
        self.limit = stall_minutes * 60 if stall_minutes and main else 0.0
        self._before: Any = None

    def __enter__(self) -> Heartbeat:
        if self.limit:
            self._before = signal.signal(signal.SIGALRM, self._stalled)
        return self

    def __exit__(self, *exc: object) -> None:
        if self.limit:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._before)

    def beat(self, activity: str, *, limited: bool = True, **values: Any) -> None:
        """Say what begins now. values: fields of `TrainStatus` that changed."""
        now = {"activity": activity, "pid": os.getpid(), "time": time.time()}
        self.status = self.status.model_copy(update={**now, **values})
        self.status.write(self.file)
        if self.limit:
            # set anew at every sign of life; switched off while only the engine works
            signal.setitimer(signal.ITIMER_REAL, self.limit if limited else 0)

    def end(self, state: str, **values: Any) -> None:
        """The last word: done, interrupted or failed."""
        if self.limit:
            signal.setitimer(signal.ITIMER_REAL, 0)
        # the process is about to leave: a pid or an activity would look alive
        ended = {"state": state, "pid": None, "activity": None, "time": time.time()}
        self.status = self.status.model_copy(update={**ended, **values})
        if self.ranks.first or state == "failed":
            self.status.write(self.file)
        else:
            self.file.unlink(missing_ok=True)

    def others(self) -> str:
        """What the other ranks said last, for the error of one that waits for them."""
        now, found = time.time(), []
        for rank in range(self.ranks.size):
            said = TrainStatus.read_or_none(status_file(self.folder, rank))
            if rank == self.ranks.rank or said is None:
                continue
            ago = f" for {now - said.time:.0f} s" if said.time else ""
            found.append(f"rank {rank}: {said.activity or said.error or said.state}{ago}")
        return "; ".join(found)

    def _stalled(self, number: int, frame: FrameType | None) -> None:
        where = f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else None
        raise TrainingError(
            f"no sign of life{self._of_rank()} for {self.limit / 60:g} minutes while"
            f" {self.status.activity}",
            where=where,
            remedy=(
                "mend what hangs there, or raise train.stall_minutes; the same command goes on from"
                " the last checkpoint"
            ),
        )

    def _of_rank(self) -> str:
        return f" of rank {self.ranks.rank}" if self.ranks.size > 1 else ""


def status_file(folder: Path, rank: int) -> Path:
    """Where a process says what it is doing."""
    return folder / (f"status.rank{rank}.json" if rank else "status.json")


class WatchedEngine:
    """An engine that tells the heartbeat what it is asked, and counts the rounds of a batch.

    tap: is shown every round's requests and answers.
    """

    def __init__(self, engine: Engine, heart: Heartbeat, max_rounds: int, tap: Tap | None = None):
        self.engine = engine
        self.heart = heart
        self.max_rounds = max_rounds
        self.tap = tap
        self.rounds = 0
        self.capabilities = engine.capabilities

    @contextmanager
    def batch(self) -> Iterator[WatchedEngine]:
        """The rounds of one batch of problems."""
        self.rounds = 0
        self.heart.beat("the method begins with a batch of problems")
        yield self
        self.rounds = 0

    def run(self, asks: list[Request]) -> list[Answer]:
        # the driver calls the engine once a round, with nothing where only services were asked
        self.rounds += 1
        kinds = Counter(type(ask).__name__ for ask in asks)
        what = ", ".join(f"{n} {kind}" for kind, n in kinds.items()) or "no request to the engine"
        problems = len({ask.key[1] for ask in asks if isinstance(ask, Sample) and ask.key})
        if self.rounds > self.max_rounds:
            raise TrainingError(
                f"a problem is not done after {self.max_rounds} rounds of requests ({what})",
                where="the method's `roll`",
                remedy="end its generator, or raise train.max_rounds",
            )
        of = f" of {problems} problems" if problems else ""
        self.heart.beat(f"round {self.rounds}: {what}{of}", limited=False)
        answers = self.engine.run(asks)
        if self.tap is not None:
            self.tap(asks, answers)
        self.heart.beat(f"round {self.rounds}: {what}{of} answered, the method goes on")
        return answers

    def any(self, flag: bool) -> bool:
        """Whether it is so on any rank. The wait for the others has a limit of its own."""
        if self.heart.ranks.size == 1:
            return self.engine.any(flag)
        self.heart.beat(f"{WAITING} after round {self.rounds}", limited=False)
        found = self.engine.any(flag)
        self.heart.beat(f"round {self.rounds} is over, the method goes on")
        return found

    def update(self, rows: Sequence[Row], objective: Objective, hooks: UpdateHooks) -> RolloutBatch:
        """The batch for the engine to apply."""
        self.heart.beat(f"updating the weights with {len(rows)} rows", limited=False)
        return RolloutBatch(rows, objective, hooks)

    def save(self, folder: Path) -> None:
        self.engine.save(folder)

    def load(self, folder: Path) -> None:
        self.engine.load(folder)

    def describe(self) -> dict[str, Any]:
        return self.engine.describe()


class WatchedGrader:
    """A grader that tells the heartbeat what it is given."""

    def __init__(self, grader: Grader, heart: Heartbeat):
        self.grader = grader
        self.heart = heart
        self.version = grader.version

    def gold_error(self, gold: str) -> str | None:
        return self.grader.gold_error(gold)

    def grade(self, gold: str, texts: Sequence[str]) -> Sequence[Verdict]:
        self.heart.beat(f"grading {len(texts)} answers against {gold[:60]!r}")
        return self.grader.grade(gold, texts)
