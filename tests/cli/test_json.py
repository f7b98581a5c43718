"""Wherever a table is printed, `--json` prints it for programs; nothing is cut to a width."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from program import run

TRAIN = ("train", "--backend", "grpo", "--model", "tiny-llama", "--data", "tiny")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two evaluations, and two small files with labels."""
    out = tmp_path_factory.mktemp("json")
    for model, label in (("fake:0.3", "weak"), ("fake:0.9", "strong")):
        words = ("-t", "tiny_short:2", "-L", "6", "--label", label, "--out", "runs", "-q")
        done = run("eval", "-m", model, *words, cwd=out)
        assert done.returncode == 0, done.stderr
    (out / "labels.jsonl").write_text('{"gold": "2", "response": "\\\\boxed{2}", "label": true}\n')
    (out / "steps.jsonl").write_text(
        json.dumps({"problem": "1+1?", "steps": ["1+1=3"], "label": 0, "solution": "1+1=2"}) + "\n"
    )
    return out


def answer(*words: str, cwd: Any, code: int = 0) -> Any:
    done = run(*words, "--json", cwd=cwd)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def test_eval(folder):
    words = ("-m", "fake:0.3", "-t", "tiny_short:2", "-L", "6", "--label", "weak", "--out", "runs")
    found = answer("eval", *words, "-q", cwd=folder)
    assert found["partial"] is None
    assert found["folder"].startswith("runs/fake")
    assert {row["task"] for row in found["table"]} >= {"tiny_short"}


def test_plan_and_configuration_of_eval(folder):
    words = ("eval", "-m", "fake:0.3", "-t", "tiny_short:2")
    assert answer(*words, "--dry-run", cwd=folder)["samples_per_question"] == {"tiny_short": 2}
    assert answer(*words, "--show-config", cwd=folder)["tasks"]["value"] == ["tiny_short:2"]


def test_plan_and_configuration_of_train(folder):
    plan = answer(*TRAIN, "--dry-run", cwd=folder)
    assert plan["configuration"]["train"]["steps"] == 40
    assert plan["switches"]["group_size"] == 8
    assert {row["switch"] for row in plan["deviations"]} >= {"std_ddof"}
    shown = answer(*TRAIN, "--show-config", "train.seed=3", cwd=folder)
    assert shown["train.seed"] == {"value": 3, "origin": "command line"}
    assert shown["method.use_std"] == {"value": True, "origin": "default"}


def test_status(folder):
    assert [run_["state"] for run_ in answer("status", "runs", cwd=folder)] == ["done", "done"]


def test_compare(folder):
    (row,) = answer("compare", "runs", cwd=folder)["rows"]
    assert row["task"] == "tiny_short"


def test_report(folder):
    found = answer("report", "runs", "--out", "report", cwd=folder)
    assert "report/leaderboard.csv" in found["files"]
    assert {row["method"] for row in found["leaderboard"]} == {"weak", "strong"}


def test_grade(folder):
    found = answer("grade", "runs", "-g", "string", "--agreement", "-q", cwd=folder)
    assert len(found) == 2
    assert set(found[0]["scores"]) == {"robust", "string"}
    assert found[0]["agreement"][0]["samples"] == 12


def test_grade_file_and_grader_eval(folder):
    (found,) = answer("grade-file", "labels.jsonl", "-g", "string", "-q", cwd=folder)
    assert found["quarantined"] == 0
    measured = answer("grader-eval", "labels.jsonl", "-g", "string", "-q", cwd=folder)
    assert measured["table"][0]["agreement"] == 1.0


def test_judge_eval(folder):
    words = ("judge-eval", "steps.jsonl", "--judge", "reference", "--out", "judged", "-q")
    found = answer(*words, cwd=folder)
    assert found["parts"][0]["rows"] == 1
    assert found["quarantined"] == {}


def test_validate(folder):
    found = answer("validate", "-t", "tiny_short", cwd=folder)
    assert [task["status"] for task in found["tasks"]] == ["ok"]


@pytest.mark.parametrize("kind", ["backends", "tasks", "profiles"])
def test_ls(kind, folder):
    assert all(row["name"] for row in answer("ls", kind, cwd=folder))


@pytest.mark.parametrize(
    "words", [(*TRAIN, "--show-config"), ("ls", "backends"), ("status", "runs")]
)
def test_piped_text_is_not_cut_to_a_width(words, folder):
    narrow = run(*words, cwd=folder, COLUMNS="30")
    wide = run(*words, cwd=folder, COLUMNS="300")
    assert narrow.returncode == 0, narrow.stderr
    ages = re.compile(r"\d+ (s|min) ago *")  # time goes on between the two
    assert ages.sub("", narrow.stdout) == ages.sub("", wide.stdout)
    assert "…" not in narrow.stdout
