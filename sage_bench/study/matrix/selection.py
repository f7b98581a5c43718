"""Which checkpoint of a training run is evaluated. Decided on validation, never on a benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sage_bench.data.schema import VALIDATION
from sage_bench.training import checkpoint
from sage_bench.utils.errors import SageBenchError


def select(run: Path, rule: str) -> dict[str, Any]:
    """The step, its folder (below `run`), and what the choice was made from.

    rule: `last`, or `best`: the highest reward without hints on validation among the saved steps
    after the first, the earliest of equal ones. Raises `SageBenchError` where there is none.
    """
    saved = [step for step in checkpoint.steps(run) if step > 0]
    if not saved:
        raise SageBenchError(
            "there is no checkpoint to choose from",
            where=str(run),
            remedy="run the same command again",
        )
    rewards = {row["step"]: row["reward"] for row in VALIDATION.read(run / "validation.jsonl")}
    measured = {step: rewards[step] for step in saved if step in rewards}
    step = saved[-1]
    if rule == "best":
        if not measured:
            raise SageBenchError(
                "no saved step has a validation reward",
                where=str(run / "validation.jsonl"),
                remedy="set validation.source, and validation.every so that saved steps are met",
            )
        step = max(measured, key=lambda s: (measured[s], -s))
    return {
        "rule": rule,
        "step": step,
        "checkpoint": f"checkpoints/{checkpoint.name(step)}",
        "validation": {str(s): reward for s, reward in measured.items()},
    }
