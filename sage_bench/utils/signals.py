"""Signals that ask a program to leave, as exceptions: whatever is open is closed on the way out."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from sage_bench.utils.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
AGAIN = 0.05  # seconds after which a signal that came during an import is looked at again
EXPLANATION = "what was finished is saved; run the same command again to go on"


@contextmanager
def leaving_on_signals() -> Iterator[None]:
    """While it is entered, Ctrl-C, SIGTERM and SIGHUP raise `Interrupted` in the main thread.

    A second one takes the program away at once. Signals that the caller ignores (`nohup`) stay
    ignored. One that comes while a module is being imported waits until it is: libraries swallow an
    exception there, and fail later with an error that has nothing to do with it.
    """
    before: dict[signal.Signals, Any] = {}
    for wanted in SIGNALS:
        if signal.getsignal(wanted) == signal.SIG_IGN:
            continue
        try:
            before[wanted] = signal.signal(wanted, _raise)
        except ValueError:  # not the main thread: whoever runs there handles signals
            break
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _raise(number: int, frame: FrameType | None) -> None:
    if _importing(frame):
        waiting = threading.Timer(AGAIN, os.kill, (os.getpid(), number))
        waiting.daemon = True
        waiting.start()
        return
    signal.signal(number, signal.SIG_DFL)
    word = "interrupted" if number == signal.SIGINT else signal.Signals(number).name
    raise Interrupted(number, f"{word}: {EXPLANATION}")


def _importing(frame: FrameType | None) -> bool:
    """Whether an import is among the calls that were interrupted."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
