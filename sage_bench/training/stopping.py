"""Being asked to stop: the step under way is finished and saved first."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from sage_bench.utils.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
WORDS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "SIGHUP"}


class Stop:
    """While it is entered, the first Ctrl-C, SIGTERM or SIGHUP only asks; a second one leaves.

    asked: the signal's number once there was one. In a thread that is not the main one, signals are
    left to whoever runs the loop there.
    """

    def __init__(self, say: Callable[[str], None] | None = None) -> None:
        self.asked: int | None = None
        self.say = say or _print
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        for number in SIGNALS:
            # a process started with nohup ignores SIGHUP, and goes on doing so
            if signal.getsignal(number) == signal.SIG_IGN:
                continue
            try:
                self._before[number] = signal.signal(number, self._ask)
            except ValueError:  # not the main thread
                break
        return self

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked is not None:
            self.asked = number
            raise Interrupted(number, "left at once: the last checkpoint is what is kept")
        # nothing is raised: the step under way runs to its end and is saved
        self.asked = number
        self.say(
            f"{WORDS[signal.Signals(number)]}: finishing and saving this step, then leaving"
            " (once more: leave now)"
        )

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _print(text: str) -> None:
    print(f"\n{text}", file=sys.stderr, flush=True)
