"""Asked to stop: the step is finished and saved, the exit code says which signal it was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from small_runs import build, command, train, weights

from sage_bench.data.schema import TrainStatus
from sage_bench.training import loop
from sage_bench.utils.errors import Interrupted, TrainingError
from sage_bench.utils.files import read_jsonl

METHODS = Path(__file__).parents[1] / "support" / "hanging_methods.py"
WORDS = ("train.steps=200", "train.save_every=100", "sampling.max_tokens=64", "grader=math_verify")


def started(folder: Path, *more: str, backend: str = "grpo") -> subprocess.Popen:
    """A run in a session of its own, after its second step, with the grader's processes at work.

    Its golds are expressions: numbers are compared with numbers without them.
    """
    data = folder.with_suffix(".jsonl")
    rows = [
        {"id": str(i), "question": f"{i}+1=", "answer": f"x+{i}", "solution": "1"}
        for i in range(1, 7)
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    process = subprocess.Popen(
        [*command(folder, *WORDS, *more, backend=backend), "--data", str(data)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 240
    while len(list(read_jsonl(folder / "metrics.jsonl"))) < 2 and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


def children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_finishes_the_step_saves_and_leaves_with_its_code(number, tmp_path):
    folder = tmp_path / "run"
    process = started(folder)
    offspring = children(process.pid)
    os.kill(process.pid, number)
    assert process.wait(timeout=120) == 128 + number
    said = process.stderr.read()
    assert "finishing and saving this step" in said
    status = TrainStatus.read(folder / "status.json")
    assert status.state == "interrupted"
    assert f"interrupted after step {status.step} of 200, which is saved" in said
    assert "the same command goes on" in said
    assert (folder / f"checkpoints/step_{status.step:06d}/run.json").exists()
    assert offspring, "the grader's processes were there"
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in offspring):
        assert time.monotonic() < deadline, "a child lives on"
        time.sleep(0.05)


def test_interrupted_and_resumed_ends_equal(tmp_path):
    straight = train(tmp_path / "straight", backend="grpo")
    run = build(tmp_path / "stopped", backend="grpo")
    whole = loop.one_step

    def interrupted(session):
        if session.state.step == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return whole(session)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Interrupted) as stopped:
        patch.setattr(loop, "one_step", interrupted)
        loop.train(run)
    assert stopped.value.exit_code == 143
    assert "after step 2 of 4" in stopped.value.explanation
    again = train(tmp_path / "stopped", backend="grpo")
    assert weights(again) == weights(straight)


def test_a_second_ctrl_c_leaves_at_once_with_an_honest_status(tmp_path):
    run = build(tmp_path, "train.save_every=2", backend="grpo")
    whole = loop.one_step

    def hangs(session):
        if session.state.step == 3:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)
        return whole(session)

    began = time.monotonic()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt) as stopped:
        patch.setattr(loop, "one_step", hangs)
        loop.train(run)
    assert time.monotonic() - began < 60
    assert stopped.value.exit_code == 130
    status = json.loads((tmp_path / "status.json").read_text())
    assert status["state"] == "interrupted"
    assert status["step"] == 3
    assert status["error"] == "step 2 is saved"


def test_the_handlers_of_the_caller_come_back(tmp_path):
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)]
    train(tmp_path, "train.steps=1")
    after = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)]
    assert after == before


def test_ctrl_c_on_a_terminal_changes_no_grade(tmp_path):
    """The whole foreground group gets the signal, the grader's processes included."""
    process = started(tmp_path / "run")
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=120) == 130
    rows = list(read_jsonl(tmp_path / "run" / "ledger.jsonl"))
    assert rows
    statuses = {name for row in rows for name in row["status"]}
    assert not statuses & {"crash", "timeout"}


# ---- signs of life ----
def hanging(folder: Path, backend: str, *words: str):
    return build(folder, *words, backend=backend, backend_files=[str(METHODS)])


def test_a_generator_that_never_ends_is_stopped(tmp_path):
    run = hanging(tmp_path, "asks_for_ever", "train.max_rounds=20")
    with pytest.raises(TrainingError, match="not done after 20 rounds of requests"):
        loop.train(run)
    assert TrainStatus.read(tmp_path / "status.json").state == "failed"


def test_a_method_that_hangs_is_stopped_and_says_where(tmp_path):
    run = hanging(tmp_path, "sleeps", "train.stall_minutes=0.02")
    with pytest.raises(TrainingError, match=r"hanging_methods\.py:\d+: no sign of life") as error:
        loop.train(run)
    assert "while round 1: 2 Sample of 2 problems answered, the method goes on" in str(error.value)


def test_a_grader_that_hangs_is_stopped_and_says_what_it_graded(tmp_path):
    run = build(tmp_path, "train.stall_minutes=0.02", backend="grpo")

    class Hangs:
        version = "0"

        def grade(self, gold, texts):
            time.sleep(30)

    run.context.grader = Hangs()
    began = time.monotonic()
    with pytest.raises(TrainingError, match=r"while grading \d answers against"):
        loop.train(run)
    assert time.monotonic() - began < 25


def test_the_heartbeat_says_what_is_being_done(tmp_path, monkeypatch):
    seen = []
    write = TrainStatus.write

    def noted(self, path):
        seen.append(self.activity)
        write(self, path)

    monkeypatch.setattr(TrainStatus, "write", noted)
    train(tmp_path, "train.steps=1", "validation.source=tiny", backend="grpo")
    assert "round 1: 2 Sample of 2 problems" in seen
    assert any(str(a).startswith("grading 2 answers against") for a in seen)
    assert any(str(a).startswith("updating the weights with") for a in seen)
    assert "writing checkpoint step_000001" in seen
    assert "validation on 2 problems" in seen
    assert seen[-1] is None


# ---- validation points ----
def test_killed_in_the_first_validation_its_row_is_written_on_resume(tmp_path, monkeypatch):
    words = ("validation.every=2", "validation.source=tiny", "log.tensorboard=true")
    straight = train(tmp_path / "straight", *words)
    run = build(tmp_path / "killed", *words)
    monkeypatch.setattr(loop, "validate", lambda session: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(MemoryError):
        loop.train(run)
    monkeypatch.undo()
    last = train(tmp_path / "killed", *words)
    rows = [list(read_jsonl(tmp_path / n / "validation.jsonl")) for n in ("straight", "killed")]
    assert rows[0] == rows[1]
    assert [row["step"] for row in rows[1]] == [0, 2, 4]
    assert weights(last) == weights(straight)


def test_tensorboard_keeps_validation_points_of_resumed_runs(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    words = ("validation.every=1", "validation.source=tiny", "log.tensorboard=true")
    for steps in (1, 2, 3):
        train(tmp_path, *words, f"train.steps={steps}")
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert [e.step for e in board.Scalars("validation/reward")] == [0, 1, 2, 3]
    assert [e.step for e in board.Scalars("train/groups")] == [0, 1, 2]
