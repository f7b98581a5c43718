"""SGPO offline on a record: which groups each arm trains on, and from what the ratio is taken."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from recording import GRPO, mixed_problems
from small_runs import train, weights

from sage_bench.api.recording import record
from sage_bench.api.settings import training_config
from sage_bench.backends.sgpo import SGPOOffline
from sage_bench.generation.recorded.record import Record
from sage_bench.types import Completion, Group, Problem
from sage_bench.utils.errors import UsageError
from sage_bench.utils.files import read_jsonl

WORDS = (*(w for w in GRPO if not w.startswith("train.")), "train.prompts_per_step=12")
CLIP = ("objective.clip_low=0.2", "objective.clip_high=0.2")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    return str(mixed_problems(tmp_path_factory.mktemp("data") / "mixed.jsonl"))


@pytest.fixture(scope="module")
def groups(data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("groups")
    record("tiny-llama", data, out=folder, overrides=[*WORDS, "method.group_size=4"])
    return folder


@pytest.fixture(scope="module")
def offline(data, groups):
    """Train on the record in a folder; returns the last checkpoint."""

    def run(folder: Path, *words: str, backend: str = "sgpo_offline") -> Path:
        own = ("method.group_size=4", f"engine.rollouts=recorded:{groups}")
        more = ("engine.recorded.match=problem", "train.updates_per_step=1", "train.steps=1")
        return train(folder, *WORDS, *own, *more, *words, backend=backend, data=data)

    return run


def ledger(folder: Path) -> list[dict]:
    return list(read_jsonl(folder / "ledger.jsonl"))


def test_the_record_has_groups_of_both_kinds(groups):
    found = Record.open(groups)
    solved = [max(found.load(key).rewards) > 0 for key in found.groups()]
    assert 0 < sum(solved) < len(solved)


def test_negatives_are_judged_for_three_passes(offline, tmp_path):
    offline(tmp_path, "train.steps=3")
    rows = ledger(tmp_path)
    assert len(rows) == 3 * 12
    assert [row["dropped"] for row in rows] == [row["reward"] > 0 for row in rows]
    graded = [row for row in rows if row["outcome"] == "graded"]
    assert {row["step"] for row in graded} == {0, 1, 2}
    assert all("scores" in row for row in graded)
    metrics = list(read_jsonl(tmp_path / "metrics.jsonl"))
    assert [row["recorded"] for row in metrics] == [48.0] * 3
    # the denominator stays the policy that drew
    assert [row["learner/kl_old"] > 0 for row in metrics] == [False, True, True]


def test_positives_train_on_right_completions_alone(offline, tmp_path):
    offline(tmp_path, "method.arm=positives", "method.judge=null")
    rows = ledger(tmp_path)
    assert [row["dropped"] for row in rows] == [row["reward"] <= 0 for row in rows]
    (metrics,) = read_jsonl(tmp_path / "metrics.jsonl")
    assert metrics["learner/trained_rows"] == sum(4 * row["reward"] for row in rows)


def test_the_advantage_of_a_right_completion_is_one(tmp_path):
    method = SGPOOffline(None, arm="positives")
    completions = [Completion((1, 2)), Completion((3,)), Completion((4, 5, 6))]
    problem = Problem("a", "1+1", None, "2")
    rewards = torch.tensor([1.0, 0.0, 1.0])
    rows = method.credit(Group(problem, (9,), (9,), completions, rewards))
    assert [row.tokens for row in rows] == [(1, 2), (4, 5, 6)]
    assert [row.advantage.tolist() for row in rows] == [[1.0, 1.0], [1.0, 1.0, 1.0]]


def test_all_groups_are_grpo(offline, tmp_path):
    ours = offline(tmp_path / "all", "method.arm=all", "method.judge=null")
    plain = offline(tmp_path / "grpo", *CLIP, backend="grpo")
    assert weights(ours) == weights(plain)


def test_negatives_need_a_judge():
    with pytest.raises(UsageError, match="no judge is named"):
        SGPOOffline(None)


def test_the_preset_has_the_values_of_the_paper():
    config = training_config(configs=["qwen2.5-14b-instruct@limo"]).config
    assert config.backend == "sgpo_offline"
    assert config.data.source == "limo"
    assert config.train.epochs == 3
    assert config.optim.lr == 2e-6
    assert config.method["group_size"] == 6
    assert (config.objective.clip_low, config.objective.clip_high) == (0.2, 0.2)
