"""Which checkpoint of a training run is its result, chosen without looking at a test set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sage_bench.data.schema import VALIDATION, Manifest
from sage_bench.training import checkpoint
from sage_bench.utils.errors import UsageError, did_you_mean

BEST = "best"
LAST = "last"
# what manifests and tables say of each rule
RULES: Mapping[str, str] = {BEST: "best on validation", LAST: "last step"}
NOT_SELECTED = "not selected"  # of the other checkpoints of a run, where they are evaluated too


@dataclass(frozen=True, slots=True)
class Choice:
    """The checkpoint that a rule picks.

    rule: as tables name it. reward: on validation, in [0, 1]; None where that step has none.
    """

    folder: Path
    step: int
    rule: str
    reward: float | None


def checkpoints(run: Path) -> dict[int, Path]:
    """The saved steps of a training run and their folders, step 0 (before training) included.

    Raises `UsageError` for a folder that is not a training run or has no checkpoint.
    """
    file = run / "manifest.json"
    if not file.is_file() or Manifest.read(file).kind != "train":
        raise UsageError(
            "this is not a training run",
            where=str(run),
            remedy="give the --out of `sage-bench train`",
        )
    found = {step: run / "checkpoints" / checkpoint.name(step) for step in checkpoint.steps(run)}
    if not found:
        raise UsageError(
            "this training run has no checkpoint",
            where=str(run),
            remedy="go on training, or train with a smaller train.save_every",
        )
    return found


def validation_rewards(run: Path) -> dict[int, float]:
    """Mean reward on the validation problems by step, without hints, as training wrote it."""
    rows = VALIDATION.read(run / "validation.jsonl")
    return {int(row["step"]): float(row["reward"]) for row in rows}


def select(run: Path, rule: str | None = None) -> Choice:
    """The checkpoint of a training run that a rule picks.

    `best`: the highest validation reward, of equal ones the earliest step; `last`: the last saved
    step. Unless named it is `best`, or `last` for a run without validation. Step 0 is the policy
    before training and is never picked where another is saved. Test sets play no part.

    Raises `UsageError` for an unknown rule, for a folder that is not a training run, and for `best`
    where no saved step was validated.
    """
    saved = checkpoints(run)
    rewards = validation_rewards(run)
    candidates = [step for step in saved if step > 0] or list(saved)
    validated = [step for step in candidates if step in rewards]
    chosen_rule = rule or (BEST if validated else LAST)
    if chosen_rule not in RULES:
        raise UsageError(
            f"unknown rule `{chosen_rule}`; {did_you_mean(chosen_rule, RULES)}".rstrip("; "),
            where="--select",
            remedy="one of " + ", ".join(RULES),
        )
    if chosen_rule == LAST:
        step = max(candidates)
    elif validated:
        step = max(validated, key=lambda s: (rewards[s], -s))
    else:
        steps_saved = ", ".join(map(str, candidates))
        steps_validated = ", ".join(map(str, rewards)) or "none"
        raise UsageError(
            f"no saved step was validated (saved: {steps_saved}; validated: {steps_validated})",
            where=str(run / "validation.jsonl"),
            remedy="--select last, or train with validation.every a divisor of train.save_every",
        )
    return Choice(saved[step], step, RULES[chosen_rule], rewards.get(step))
