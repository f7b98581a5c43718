"""The child process that compares: one JSON line in, one JSON line out. Started by `grading.pool`.

A job names its comparer as "module:function"; the function takes (gold, answer) and returns a
`Reply`. Memory is capped (`MEMORY_GIB`), so that a runaway expansion is a crash of one row and not
of the machine. A job's processor time is capped too: SIGPROF ends the process, whatever it is
computing, and its parent reads that as a time-out. math-verify guards itself with SIGALRM, which
depends on how busy the machine is; here its timeouts are off.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import NotRequired, TypedDict

from sage_bench.grading.verdict import Status

# of address space, a process
MEMORY_GIB = float(os.environ.get("SAGEBENCH_GRADER_MEMORY_GIB", "4"))
# digits of a number as text: turning longer ones into text is quadratic in time
MOST_DIGITS = 100_000


class Reply(TypedDict):
    """What a comparer answers.

    by: what decided. distance: how far the answer is from the gold, relatively. error: what was
    raised.
    """

    correct: bool
    status: Status
    by: NotRequired[str]
    distance: NotRequired[float]
    error: NotRequired[str]


Comparer = Callable[[str, str], Reply]


def equivalent(gold: str, answer: str) -> Reply:
    """math-verify on boxed gold and boxed answer."""
    from math_verify import verify

    parsed_gold, parsed_answer = parse_boxed(gold), parse_boxed(answer)
    if parsed_gold and parsed_answer and verify(parsed_gold, parsed_answer, timeout_seconds=None):
        return {"correct": True, "status": "ok"}
    unread = not is_mathematics(parsed_answer) and is_mathematics(parsed_gold)
    return {"correct": False, "status": "parse_error" if unread else "ok"}


METRIC_PRECISION = 6  # decimals
METRIC_SECONDS = 5.0  # of processor time, for each step of math-verify's metric; its own default


def metric(gold: str, answer: str) -> Reply:
    """math-verify's own metric as SAGE calls it (docs/design/sage.md 4.1).

    Its timeouts are in processor time.
    """
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

    def parsed(text: str, *how: object) -> list[object]:
        with suppress(TimeoutError), cpu_alarm(METRIC_SECONDS):
            return list(parse("\\boxed{" + text + "}", how, parsing_timeout=None))
        return []

    golds = parsed(gold, LatexExtractionConfig())
    answers = parsed(answer, ExprExtractionConfig(), LatexExtractionConfig())
    if not golds:  # a gold it cannot read: the released code scores 0
        return {"correct": False, "status": "parse_error"}
    same = False
    with suppress(TimeoutError), cpu_alarm(METRIC_SECONDS):
        same = bool(verify(golds, answers, METRIC_PRECISION, timeout_seconds=None))
    return {"correct": same, "status": "ok"}


@contextmanager
def cpu_alarm(seconds: float) -> Iterator[None]:
    """Raises `TimeoutError` after so many seconds of processor time (the main thread only)."""

    def ring(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGVTALRM, ring)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def readable(gold: str, _: str) -> Reply:
    """Can math-verify read the gold?"""
    return {"correct": is_gold(gold), "status": "ok"}


def is_mathematics(parsed: list[object]) -> bool:
    """math-verify falls back to the bare text where it understands nothing."""
    return any(not isinstance(x, str) for x in parsed)


def is_gold(text: str) -> bool:
    """Mathematics, or words (`Friday`, `D`); LaTeX that stayed text is neither."""
    parsed = parse_boxed(text)
    return is_mathematics(parsed) or any("\\" not in str(x) for x in parsed)


def parse_boxed(text: str) -> list[object]:
    """math-verify's reading of an answer.

    Bare golds parse wrongly (`3\\sqrt{13}` becomes 3), boxed ones do not.
    """
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse

    found = parse(
        "\\boxed{" + text + "}",
        (LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()),
        parsing_timeout=None,
    )
    return [x for x in found if not isinstance(x, str) or x.strip()]


@cache
def comparer(how: str) -> Comparer:
    """The function behind "module:function"."""
    module, _, name = how.partition(":")
    found: Comparer = getattr(importlib.import_module(module), name)
    return found


def answer_line(line: str) -> Reply:
    """The reply to one job; whatever the comparer raises becomes a row that says so."""
    job = json.loads(line)
    # nothing handles SIGPROF: it ends the process even in the middle of a long multiplication
    signal.setitimer(signal.ITIMER_PROF, job.get("cpu", 0))
    try:
        return comparer(job["how"])(job["gold"], job["answer"])
    except (KeyboardInterrupt, SystemExit):
        raise
    # a comparer that fails costs its row, not the run; math-verify's timeout is a BaseException
    except BaseException as error:  # noqa: BLE001
        return {
            "correct": False,
            "status": "crash",
            "error": f"{type(error).__name__}: {error}"[:500],
        }
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def main() -> None:
    logging.disable(logging.WARNING)  # math-verify warns about the missing timeouts for every row
    import math_verify  # noqa: F401  # imported once, before "ready", not in the first row's time

    size = int(MEMORY_GIB * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    sys.set_int_max_str_digits(MOST_DIGITS)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer_line(line)), flush=True)


if __name__ == "__main__":
    main()
