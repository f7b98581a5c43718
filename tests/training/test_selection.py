"""The checkpoint that counts is chosen by validation or by its step, never by a test set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sage_bench.training.selection import checkpoints, select
from sage_bench.utils.errors import UsageError


def training_run(folder: Path, saved: list[int], rewards: dict[int, float]) -> Path:
    """The files of a training run that a selection reads."""
    for step in saved:
        place = folder / "checkpoints" / f"step_{step:06d}"
        place.mkdir(parents=True)
        (place / "run.json").write_text("{}")
    folder.mkdir(exist_ok=True)
    (folder / "manifest.json").write_text('{"kind": "train"}')
    with (folder / "validation.jsonl").open("w") as file:
        for step, reward in rewards.items():
            row = {"step": step, "reward": reward, "solved": reward, "questions": 8}
            file.write(json.dumps(row) + "\n")
    return folder


def test_the_best_validated_checkpoint_is_picked_and_the_earliest_of_equals(tmp_path):
    run = training_run(tmp_path / "a", [0, 10, 20, 30], {0: 0.1, 10: 0.4, 20: 0.6, 30: 0.6})
    choice = select(run)
    assert (choice.step, choice.rule, choice.reward) == (20, "best on validation", 0.6)
    assert choice.folder == run / "checkpoints" / "step_000020"
    assert select(run, "last").step == 30
    assert select(run, "last").rule == "last step"


def test_what_was_validated_and_not_saved_cannot_be_picked(tmp_path):
    run = training_run(tmp_path / "a", [10, 30], {10: 0.2, 20: 0.9, 30: 0.3})
    assert select(run).step == 30


def test_the_policy_before_training_is_no_result(tmp_path):
    run = training_run(tmp_path / "a", [0, 10], {0: 0.9, 10: 0.2})
    assert select(run).step == 10
    assert list(checkpoints(run)) == [0, 10]


def test_without_validation_the_last_step_counts_and_best_is_refused(tmp_path):
    run = training_run(tmp_path / "a", [5, 10], {})
    choice = select(run)
    assert (choice.step, choice.rule, choice.reward) == (10, "last step", None)
    with pytest.raises(UsageError, match=r"no saved step was validated \(saved: 5, 10"):
        select(run, "best")


def test_wrong_rules_and_folders_are_named(tmp_path):
    run = training_run(tmp_path / "a", [5], {5: 0.5})
    with pytest.raises(UsageError, match="unknown rule `bets`; did you mean `best`"):
        select(run, "bets")
    with pytest.raises(UsageError, match="this is not a training run"):
        select(tmp_path)
    empty = training_run(tmp_path / "b", [], {})
    with pytest.raises(UsageError, match="has no checkpoint"):
        select(empty)
