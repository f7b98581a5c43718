"""Equal budgets: how long to train until as much was sampled as another run did."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from sage_bench.data.schema import LEDGER
from sage_bench.study.matrix.cells import Unit
from sage_bench.training import checkpoint
from sage_bench.utils.errors import SageBenchError

ROUNDS = 8  # estimates of the length are corrected this often; tokens a step drift


def per_step(run: Path, unit: Unit) -> list[int]:
    """What a run sampled in each of its steps, hints included in the tokens."""
    amounts: dict[int, int] = {}
    for row in LEDGER.read(run / "ledger.jsonl"):
        more = row["rollouts"] if unit == "rollouts" else row["tokens"] + row["hint_tokens"]
        amounts[row["step"]] = amounts.get(row["step"], 0) + more
    return [amounts.get(step, 0) for step in range(max(amounts, default=-1) + 1)]


def steps_for(amounts: Sequence[int], target: int) -> int:
    """The fewest steps in which at least `target` is sampled, from what the first steps sampled.

    Where these are too few, the rest is taken to go on as on average.

    >>> steps_for([10, 10, 10], 20), steps_for([10, 10, 10], 21), steps_for([10, 10], 55)
    (2, 3, 6)
    """
    total = 0
    for step, amount in enumerate(amounts, 1):
        total += amount
        if total >= target:
            return step
    if not total:
        raise SageBenchError(
            "a run that samples nothing never reaches a budget",
            where="equal",
            remedy="leave the row out of `equal`",
        )
    return len(amounts) + math.ceil((target - total) * len(amounts) / total)


def copy_run(source: Path, target: Path) -> None:
    """Copy a finished run with its newest checkpoint, to go on from it elsewhere. Whole or not at
    all."""
    newest = checkpoint.name(checkpoint.steps(source)[-1])
    partial = target.with_name(f".partial-{target.name}")
    shutil.rmtree(partial, ignore_errors=True)

    def unwanted(folder: str, names: list[str]) -> set[str]:
        if Path(folder).name == "checkpoints":
            return {name for name in names if name != newest}
        return {name for name in names if name.startswith(".")}

    shutil.copytree(source, partial, ignore=unwanted)
    shutil.rmtree(target, ignore_errors=True)  # holds a lock file at most
    os.replace(partial, target)
