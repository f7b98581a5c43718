"""How many prompts of a run never gave a signal. Reports read it from ledgers, without torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def no_signal_share(rows: Iterable[Mapping[str, Any]], until: int | None = None) -> float | None:
    """Share of the prompts seen that never gave a signal (SAGE table 2).

    A signal is a right completion, hinted ones included, or partial credit or a trace in its place.
    until: rows of earlier steps only. None when no prompt was seen.

    >>> first = {"step": 0, "uid": "a", "reward": 0.0}
    >>> later = {"step": 1, "uid": "a", "reward": 0.1}
    >>> no_signal_share([first, later, {"step": 1, "uid": "b", "reward": 0.0}])
    0.5
    """
    best: dict[str, float] = {}
    for row in rows:
        if row["reward"] is None or (until is not None and row["step"] >= until):
            continue
        # partial credit and traces give a gradient although the reward is 0
        signal = max(row["reward"], float(row.get("outcome") == "graded"))
        best[row["uid"]] = max(best.get(row["uid"], 0.0), signal)
    return sum(b <= 0 for b in best.values()) / len(best) if best else None
