"""status: real runs while they go, after a kill, and when they are done."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import scripted_lm

from sage_bench.evaluation import runner
from sage_bench.reporting.status import lock_holder, status
from sage_bench.utils.errors import UsageError
from sage_bench.utils.files import locked


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sage_bench", "status", *words],
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_training_run_goes_is_killed_and_is_found_dead(tmp_path):
    words = [
        "train",
        "--backend",
        "grpo",
        "--model",
        "tiny-llama",
        "--data",
        "tiny",
        "--out",
        str(tmp_path / "run"),
        "-q",
        "train.steps=500",
        "train.prompts_per_step=4",
        "train.updates_per_step=1",
    ]
    process = subprocess.Popen([sys.executable, "-m", "sage_bench", *words])
    try:
        seen = None
        for _ in range(1200):
            assert process.poll() is None
            if (tmp_path / "run/manifest.json").exists():
                (seen,) = status(tmp_path)
                if seen.done >= 2:
                    break
            time.sleep(0.1)
        assert (seen.kind, seen.state, seen.total, seen.unit, seen.pid) == (
            "train",
            "running",
            500,
            "steps",
            process.pid,
        )
        assert seen.eta > 0
        assert seen.idle < 60
        assert "reward" in seen.note
        assert str(process.pid) in run(str(tmp_path)).stdout
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    (dead,) = status(tmp_path / "run")
    assert dead.state == "died"
    assert dead.pid is None
    assert dead.eta is None
    assert dead.done >= 2
    assert "The command that began a run goes on with it" in run(str(tmp_path)).stdout
    (tmp_path / "run/status.json").write_text(
        json.dumps({"state": "failed", "step": 3, "steps": 500, "error": "OSError: disk full"})
    )
    (failed,) = status(tmp_path)
    assert failed.state == "failed"
    assert failed.note == "OSError: disk full"
    assert failed.done == 3


def test_an_evaluation_is_counted_by_its_store(tmp_path):
    config = runner.EvalConfig("m/scripted", {"tiny_short": 4, "tiny_mixed": 2}, tmp_path, limit=5)
    folder = runner.evaluate(config, scripted_lm.Scripted(), quiet=True)
    (done,) = status(tmp_path)
    assert (done.kind, done.state, done.done, done.total, done.pid, done.eta) == (
        "eval",
        "done",
        30,
        30,
        None,
        None,
    )
    file = folder / "samples/tiny_short.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:7]))
    (part,) = status(folder)
    assert part.state == "incomplete"
    assert part.done == 17
    assert part.parts["tiny_short"] == {"done": 7, "total": 20, "graded": True}
    with locked(folder):
        assert lock_holder(folder) == os.getpid()
        (going,) = status(folder)
        assert going.state == "running"
        assert going.pid == os.getpid()
        assert going.eta is not None
    assert lock_holder(folder) is None
    assert status(folder)[0].state == "incomplete"
    text = run(str(folder)).stdout
    assert "17/30 samples" in text
    assert "7/20" in text
    assert [r["done"] for r in json.loads(run(str(folder), "--json").stdout)] == [17]


def test_without_a_run_it_says_what_to_give(tmp_path):
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UsageError, match=r"no manifest\.json"):
            status(place)
    done = run(str(tmp_path))
    assert done.returncode == 2
    assert "give the --out" in done.stderr


def test_looking_does_not_take_the_lock(tmp_path):
    with locked(tmp_path):
        pass
    for _ in range(50):
        assert lock_holder(tmp_path) is None
        with locked(tmp_path):
            assert lock_holder(tmp_path) == os.getpid()
    assert lock_holder(Path("/nowhere")) is None
