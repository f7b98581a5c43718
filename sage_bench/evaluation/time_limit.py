"""A grader that hangs ends the evaluation with its name, instead of keeping it for ever.

Our graders kill what takes too long by themselves; this is the outer bound, for graders of plugins
that compare in this process.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from sage_bench.grading.question import grade_question
from sage_bench.grading.verdict import Verdict
from sage_bench.utils.errors import SageBenchError

START_SECONDS = 300.0  # importing what a grader needs, on a busy machine
TEXT_SECONDS = 60.0  # more than five times what our slowest comparison may take


class _LateError(BaseException):
    """Not an `Exception`: a grader that catches those must not catch this."""


def grade_in_time(
    gold: str, texts: Sequence[str], grader: str, options: Sequence[str] | None, where: str
) -> list[Verdict]:
    """`grade_question`, within a bound that grows with the number of texts.

    where: the task and question, for the error. Raises `SageBenchError` when the grader has not
    answered by then. Outside the main thread there is no bound: only there can Python interrupt a
    comparison.
    """
    seconds = START_SECONDS + TEXT_SECONDS * len(texts)
    try:
        with _limit(seconds):
            return grade_question(gold, texts, grader, options)
    except _LateError:
        raise SageBenchError(
            f"the grader `{grader}` has not answered within {seconds:.0f} s; the samples are kept",
            where=where,
            remedy="mend it, or grade with another: --grader robust",
        ) from None


@contextmanager
def _limit(seconds: float) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(number: int, frame: FrameType | None) -> None:
        raise _LateError

    began = time.monotonic()
    handler = signal.signal(signal.SIGALRM, late)
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left:
            # somebody else's alarm goes on where it was
            rest = max(0.001, left - (time.monotonic() - began))
            signal.setitimer(signal.ITIMER_REAL, rest, interval)
