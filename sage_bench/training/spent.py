"""What the training of a checkpoint cost, from the log files of its run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sage_bench.data.schema import METRICS

SECONDS = "seconds/step"


def training_cost(folder: Path, until: int | None = None) -> dict[str, Any]:
    """rollouts, tokens (hints included) and hours of the steps before `until`, of all without it.

    {} for a folder that is not a training run.
    """
    file = folder / "metrics.jsonl"
    if not file.is_file() or not (folder / "config.json").is_file():
        return {}
    steps: list[dict[str, Any]] = [dict(row) for row in METRICS.read(file)]
    rows = [row for row in steps if until is None or row["step"] < until]
    seconds = sum(row.get(SECONDS) or 0.0 for row in rows)
    return {
        "rollouts": sum(row["rollouts"] for row in rows),
        "tokens": sum(row["tokens"] for row in rows),
        "hours": seconds / 3600,
    }
