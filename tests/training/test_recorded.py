"""Recorded groups: a run on a record is the run that drew it, bit for bit; what does not fit is
named."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest
from recording import GRPO, short_problems
from small_runs import build, command, train, weights

from sage_bench.generation.recorded.files import ending_of, step_files
from sage_bench.generation.recorded.record import Record
from sage_bench.generation.recorded.rows import digest_of, from_line, shortest
from sage_bench.training import loop
from sage_bench.utils.errors import DataError, UsageError
from sage_bench.utils.files import read_json, read_jsonl


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    return str(short_problems(tmp_path_factory.mktemp("data") / "short.jsonl"))


@pytest.fixture(scope="module")
def grpo(data):
    """Train GRPO in a folder; returns the last checkpoint."""

    def run(folder: Path, *words: str) -> Path:
        return train(folder, *GRPO, *words, backend="grpo", data=data)

    return run


def on(record: Path, *words: str) -> tuple[str, ...]:
    return (f"engine.rollouts=recorded:{record}", *words)


@pytest.fixture(scope="module")
def live(grpo, tmp_path_factory) -> Path:
    """The last checkpoint of a live run that kept its draws."""
    return grpo(tmp_path_factory.mktemp("live"), "log.groups=all")


@pytest.fixture(scope="module")
def kept(live) -> Path:
    return live.parents[1]


def metrics(folder: Path) -> list[dict]:
    return list(read_jsonl(folder / "metrics.jsonl"))


# ---- live and recorded ----
def test_a_run_on_its_record_ends_in_equal_weights(grpo, live, kept, tmp_path):
    last = grpo(tmp_path, *on(kept))
    assert all(row["learner/trained_rows"] > 0 for row in metrics(kept)), "steps have a signal"
    assert weights(last) == weights(live)


def test_the_same_draws_stand_in_its_log(grpo, kept, tmp_path):
    grpo(tmp_path, *on(kept))
    rows = metrics(tmp_path)
    assert [row["recorded"] for row in rows] == [32.0] * 3
    assert [row["drawn_live"] for row in rows] == [0.0] * 3
    same = ("reward", "length", "learner/loss", "learner/grad_norm", "learner/logp_gap")
    ours = [[row[name] for name in same] for row in rows]
    assert ours == [[row[name] for name in same] for row in metrics(kept)]


def test_keeping_the_draws_changes_nothing(grpo, live, tmp_path):
    assert weights(grpo(tmp_path)) == weights(live)


@pytest.mark.slow
def test_a_killed_run_on_a_record_goes_on_and_ends_alike(grpo, data, live, kept, tmp_path):
    words = [*GRPO, *on(kept), "train.save_every=1"]
    run = subprocess.Popen(command(tmp_path, *words, backend="grpo", data=data))
    while not (tmp_path / "checkpoints" / "step_000001").is_dir() and run.poll() is None:
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert weights(grpo(tmp_path, *on(kept), "train.save_every=1")) == weights(live)
