"""`judge-train`: what it writes, how it goes on, and what the judge is used for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from labelled_rows import write

from sage_bench.api.judge_training import train_judge
from sage_bench.api.labelling import label_tiny_steps
from sage_bench.api.measuring import measure_judge
from sage_bench.api.training import train
from sage_bench.data import tiny_steps
from sage_bench.data.tiny_world import Family
from sage_bench.judges.trained import read_trained
from sage_bench.utils.errors import DataError, UsageError
from sage_bench.utils.files import read_json, read_jsonl

ROOT = Path(__file__).resolve().parents[2]
WORDS = [
    f"prompts={ROOT / 'configs/tiny_judge_prompts.yaml'}",
    "train.steps=4",
    "train.prompts_per_step=4",
    "train.save_every=1",
    "optim.warmup_steps=0",
    "log.kl_rows=0",
    "log.tensorboard=false",
]


def steps_file(folder: Path, count: int = 40, seed: str = "taught", extra=()) -> str:
    made = tiny_steps.respond(Family("some", (2, 3), 0.35, count=count), seed)
    rows = [response.row(f"{seed}-{i}") for i, response in enumerate(made)]
    return write(folder / f"{seed}.jsonl", [*rows, *extra])


def prepared(folder: Path, *words: str, files=None, **changes):
    return train_judge(
        files or [steps_file(folder)],
        model="tiny-llama",
        out=folder / "judge",
        overrides=[*WORDS, *words],
        **{"held_out": 0.2, "prepare": True, **changes},
    )


# ---- the rows ------------------------------------------------------------------------------------
def test_the_rows_and_the_command_to_train_on_them(tmp_path):
    found = prepared(tmp_path)
    assert found.checkpoint is None
    assert found.counts["rows"] == found.counts["with_error"] + found.counts["without_error"]
    assert found.counts["with_error"] == found.counts["without_error"]
    taught = list(read_jsonl(tmp_path / "judge/data/train.jsonl"))
    held_out = list(read_jsonl(tmp_path / "judge/data/held_out.jsonl"))
    assert len(held_out) == 8
    assert len({row["uid"] for row in taught}) == found.counts["rows"]
    questions = {row["problem"] for row in held_out}
    assert not [row for row in taught if row["question"].split("\n")[0] in questions]
    assert "sage-bench train --backend sft --model tiny-llama" in found.text
    assert not (tmp_path / "judge/train").exists()


def test_rows_that_cannot_be_taught_are_listed_with_their_reason(tmp_path):
    bad = [
        {"id": "a", "problem": "3*9+6", "steps": ["3*9=7"], "label": 4},
        {"id": "b", "problem": "3*9+6", "steps": ["3*9=7", ""], "label": 1},
        {"id": "c", "problem": "3*9+6", "label": 0},
    ]
    file = steps_file(tmp_path, extra=bad)
    test = steps_file(tmp_path, 10, "tested")
    found = prepared(tmp_path, files=[file], test=[test])
    rows = list(read_jsonl(tmp_path / "judge/quarantine.jsonl"))
    reasons = {row["reason"] for row in rows}
    assert {"its label is none of its steps", "no steps", "a step is empty"} <= reasons
    assert found.counts["set_aside"] == len(rows)


def test_wrong_arguments_are_refused_before_anything_is_trained(tmp_path):
    file = steps_file(tmp_path)
    for changes, said in (
        ({"reference": "hidden"}, "--reference"),
        ({"held_out": 1.0}, "not a share of the questions"),
        ({"files": ["none.jsonl"]}, "no such data file"),
    ):
        with pytest.raises(UsageError, match=said):
            prepared(tmp_path, **{"files": [file], **changes})
    with pytest.raises(UsageError, match=r"did you mean `optim\.lr`"):
        prepared(tmp_path, "optim.ler=1", files=[file])
    other = write(tmp_path / "other.jsonl", [{"problem": "q", "essay": "x"}])
    with pytest.raises(DataError, match=r"other\.jsonl.*ProcessBench.*PRM800K.*MR-GSM8K"):
        prepared(tmp_path, files=[file, other])
    assert not (tmp_path / "judge").exists()


def test_a_users_steps_or_epochs_stand_and_else_there_are_three_passes(tmp_path):
    prepared(tmp_path)
    settings = tmp_path / "judge/data/training.yaml"
    assert "train" not in yaml.safe_load(settings.read_text())
    train_judge(
        [steps_file(tmp_path)],
        model="tiny-llama",
        out=tmp_path / "judge",
        overrides=WORDS[:1],
        prepare=True,
    )
    assert yaml.safe_load(settings.read_text())["train"] == {"epochs": 3}


def test_real_files_become_rows(shared, tmp_path):
    folder = shared / "data/steps"
    found = prepared(
        tmp_path,
        files=[str(folder / "mr_gsm8k.jsonl"), str(folder / "processbench.jsonl")],
        limit=40,
        balance=False,
    )
    rows = list(read_jsonl(tmp_path / "judge/data/train.jsonl"))
    assert len(rows) == found.counts["rows"] > 20
    for row in rows:
        assert json.loads(row["solution"])["first_error"] == (int(row["answer"]) or None)
    # answers of competition length do not fit a context of 1024 letters
    assert found.counts["set_aside"] > 0


def test_labelled_steps_of_a_policy(tmp_path):
    made = label_tiny_steps(tmp_path / "s.jsonl", model="tiny-llama", rows=12, lengths=(2, 3))
    rows = list(read_jsonl(made.file))
    assert len(rows) == made.rows == 12 - made.empty
    assert {row["problem"] for row in rows}.isdisjoint(tiny_steps.taken())
    for row in rows:
        chain = tiny_steps.chain_of(row["problem"])
        assert tiny_steps.first_wrong_step(chain, row["steps"]) == row["label"]
    with pytest.raises(UsageError, match="not a share"):
        label_tiny_steps(tmp_path / "s.jsonl", stars=3)


# ---- a whole run ---------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def judge(tmp_path_factory) -> Path:
    """A judge of four steps of training: it has learned nothing, and everything is there."""
    folder = tmp_path_factory.mktemp("judge")
    prepared(folder, prepare=False, reference="mixed")
    return folder / "judge"


@pytest.mark.slow
def test_a_judge_is_measured_before_and_after_with_and_without_the_reference(judge):
    parts = read_json(judge / "summary.json")["parts"]
    assert [(p["judge"], p["reference"], p["rows"]) for p in parts] == [
        ("before", "shown", 8),
        ("before", "withheld", 8),
        ("after_step_000004", "shown", 8),
        ("after_step_000004", "withheld", 8),
    ]
    table = (judge / "table.md").read_text()
    assert "| judge | reference | rows | judged | exact | errors found | false alarms |" in table
    assert read_trained(str(judge)).model == str(judge / "train/checkpoints/step_000004")


@pytest.mark.slow
def test_the_same_call_again_does_nothing_new(judge):
    weights = (judge / "train/checkpoints/step_000004/model.safetensors").read_bytes()
    rows = (judge / "data/train.jsonl").read_bytes()
    store = judge / "measured/before_shown/judgements.jsonl"
    judged = store.read_bytes()
    prepared(judge.parent, prepare=False, reference="mixed")
    assert (judge / "train/checkpoints/step_000004/model.safetensors").read_bytes() == weights
    assert (judge / "data/train.jsonl").read_bytes() == rows
    assert store.read_bytes() == judged


@pytest.mark.slow
def test_judge_eval_takes_the_folder(judge, tmp_path):
    held_out = str(judge / "data/held_out.jsonl")
    options = {"model": str(judge), "reference": False}
    found = measure_judge("policy", [held_out], out=tmp_path / "m", options=options, votes=2)
    assert found.parts[-1]["rows"] == 8
    with pytest.raises(UsageError, match="as an option of the judge, without --model"):
        measure_judge("policy", [held_out], out=tmp_path / "n", model=str(judge))


@pytest.mark.slow
def test_sgpo_asks_a_trained_judge(judge, tmp_path):
    result = train(
        "sgpo",
        "tiny-llama",
        "tiny",
        out=tmp_path / "run",
        overrides=[
            "train.steps=1",
            "train.prompts_per_step=2",
            "method.group_size=4",
            "method.judge=policy",
            f"method.judge_options.model={judge}",
            "method.votes=4",
            "validation.source=null",
        ],
    )
    row = result.metrics.iloc[0]
    assert row.judge_calls > 0
    assert row.judge_calls % 4 == 0


@pytest.mark.slow
def test_a_killed_run_ends_in_the_weights_of_an_undisturbed_one(judge, tmp_path):
    command = [
        *(sys.executable, "-m", "sage_bench", "judge-train", str(judge.parent / "taught.jsonl")),
        *("--model", "tiny-llama", "--held-out", "0.2", "--reference", "mixed", "--no-before"),
        *("--out", str(tmp_path / "killed"), "-q", *WORDS),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    first = tmp_path / "killed/train/checkpoints/step_000001/run.json"
    deadline = time.monotonic() + 240
    while process.poll() is None and time.monotonic() < deadline and not first.exists():
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert first.exists()
    assert not (tmp_path / "killed/table.md").exists()
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    last = "train/checkpoints/step_000004/model.safetensors"
    assert (tmp_path / "killed" / last).read_bytes() == (judge / last).read_bytes()
    assert (tmp_path / "killed/table.md").exists()
