"""Recorded groups: a run on a record is the run that drew it, bit for bit; what does not fit is
named."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from recording import GRPO, short_problems
from small_runs import command, train, weights

from sage_bench.api.recording import record
from sage_bench.generation.recorded.files import step_files
from sage_bench.generation.recorded.record import Record
from sage_bench.training.record import RecordSummary
from sage_bench.utils.errors import UsageError
from sage_bench.utils.files import read_jsonl


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


# ---- `sage-bench record` ----
ONE_PASS = [word for word in GRPO if not word.startswith("train.steps")]


def made_in(folder: Path, data: str, *words: str, **flags) -> RecordSummary:
    return record("tiny-llama", data, out=folder, overrides=[*ONE_PASS, *words], **flags)


@pytest.fixture(scope="module")
def groups(data, tmp_path_factory) -> Path:
    """A record of one pass over the data: 12 problems, of which 5 fill a batch."""
    folder = tmp_path_factory.mktemp("groups")
    made_in(folder, data, "train.prompts_per_step=5")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in step_files(folder)}


def test_a_record_has_every_problem_once(groups):
    found = Record.open(groups)
    assert len(found.groups()) == 12
    assert found.steps == [0, 1, 2], "two whole batches and the rest"


def test_a_killed_record_goes_on_and_ends_bit_equal(groups, data, tmp_path):
    made_in(tmp_path, data, "train.prompts_per_step=5")
    whole = contents(tmp_path)
    assert whole == contents(groups)
    # what a kill leaves: the step it was in torn, later ones not there
    last, torn = step_files(tmp_path)[-1], step_files(tmp_path)[1]
    last.unlink()
    torn.write_bytes(whole[torn.name][:2000])
    made_in(tmp_path, data, "train.prompts_per_step=5")
    assert contents(tmp_path) == whole


def test_a_folder_holds_one_record(groups, data):
    with pytest.raises(UsageError, match=r"train\.seed: 0 then, 1 now"):
        made_in(groups, data, "train.prompts_per_step=5", "train.seed=1")


@pytest.mark.slow
def test_kill_9_in_the_middle_of_record(groups, data, tmp_path):
    words = ["record", "--model", "tiny-llama", "--data", data, "--out", str(tmp_path)]
    line = [sys.executable, "-m", "sage_bench", *words, *ONE_PASS, "train.prompts_per_step=5"]
    run = subprocess.Popen([*line, "-q"])
    while not (tmp_path / "step_000000.jsonl").is_file() and run.poll() is None:
        time.sleep(0.005)
    run.send_signal(signal.SIGKILL)
    run.wait()
    subprocess.run([*line, "-q"], check=True)
    assert contents(tmp_path) == contents(groups)
