"""The example package, installed as a user installs it: listed, checked, trained with."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sage_bench.data.tiny_world import problems
from sage_bench.utils.files import read_jsonl

ROOT = Path(__file__).resolve().parents[2]
SMALL = (
    "train.steps=2 train.prompts_per_step=6 method.group_size=4 validation.source=null"
    " log.tensorboard=false log.kl_rows=0 optim.warmup_steps=0"
).split()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the path with the package in it."""
    folder = tmp_path_factory.mktemp("installed")
    source = folder / "source"  # setuptools leaves its traces beside the sources
    shutil.copytree(ROOT / "examples/method_package", source)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    words = [sys.executable, "-m", "pip", "install", "-q", *options]
    done = subprocess.run(
        [*words, "--target", str(folder / "site"), str(source)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return folder / "site"


def run(installed: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{installed}"}
    return subprocess.run(
        [sys.executable, "-m", "sage_bench", *words],
        capture_output=True,
        text=True,
        timeout=500,
        env=environment,
    )


def test_it_is_listed_with_its_switch(installed):
    done = run(installed, "ls", "backends", "--json")
    (row,) = [r for r in json.loads(done.stdout) if r["name"] == "fork_grpo"]
    assert row["needs"] == ["policy", "sample"]
    assert row["builds_on"] == "grpo"
    assert "entry point of fork-grpo" in row["place"]
    assert "share" in {switch["name"] for switch in row["switches"]}


def test_check_finds_nothing_wrong_with_it(installed):
    done = run(installed, "check", "fork_grpo")
    assert done.returncode == 0, done.stdout
    assert "nothing wrong" in done.stdout


@pytest.fixture(scope="module")
def trained(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    rows = [
        {"uid": p.uid, "question": p.question, "answer": p.answer, "solution": p.solution}
        for p in list(problems("tiny_short"))[:12]
    ]
    data = folder / "easy.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["--backend", "fork_grpo", "--model", "tiny-llama", "--data", str(data)]
    done = run(installed, "train", *words, "--out", str(folder / "fork"), "-q", *SMALL)
    assert done.returncode == 0, done.stderr
    return folder / "fork"


@pytest.mark.slow
def test_its_number_is_in_the_log(trained):
    counts = [row["learner/forks"] for row in read_jsonl(trained / "metrics.jsonl")]
    assert counts
    assert all(count >= 1 for count in counts)


@pytest.mark.slow
def test_its_own_request_was_answered_on_the_engine(trained):
    """Doubts are probabilities, one a token, and a fifth of the tokens is trained on."""
    rows = [row for row in read_jsonl(trained / "completions.jsonl") if "doubt" in row]
    assert rows
    for row in rows:
        assert len(row["doubt"]) == len(row["completions"])
        assert all(0 <= doubt <= 1 for own in row["doubt"] for doubt in own)
        assert len({doubt for own in row["doubt"] for doubt in own}) > 1
