"""Judges and teachers that fail: counted, shown, and beyond a share the end of the run.

A method whose judge answers nothing trains as the method without a judge, under the other's name.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from sage_bench.methods.driver import Collected
from sage_bench.utils.errors import TrainingError

LEAST = 8  # calls before a share says something
MOST = 0.5  # share of calls that may fail
WINDOW = 20  # steps the share is taken over


class ServiceWatch:
    """Calls to services over the last steps. allowed: a run without them goes on, marked."""

    def __init__(self, *, allowed: bool = False):
        self.allowed = allowed
        self.steps: deque[tuple[int, int]] = deque(maxlen=WINDOW)
        self.degraded: str | None = None

    def add(self, items: Iterable[Collected]) -> str | None:
        """Count one step's calls. Returns what to warn of, the first time there is something.

        Raises `TrainingError` when more than half of the calls failed, before the step changes the
        weights.
        """
        # groups of one problem share their usage: it counts once
        usages = {id(item.usage): item.usage for item in items}.values()
        calls = sum(usage.service_calls for usage in usages)
        failed = sum(usage.failed_calls for usage in usages)
        self.steps.append((calls, failed))
        calls, failed = (sum(counts) for counts in zip(*self.steps, strict=True))
        if calls < LEAST or failed <= MOST * calls or self.degraded:
            return None
        text = f"{failed} of {calls} calls to the judge or teacher failed"
        if not self.allowed:
            raise TrainingError(
                f"{text}: the method would train as if it had none",
                remedy=(
                    "see the *_calls.jsonl in the run folder for the reasons and run the same"
                    " command again; train.allow_degraded=true trains on, marked"
                ),
            )
        self.degraded = text
        return text
