"""kill -9 at every boundary between the stages of a step, and memory that runs out while
completions are drawn: the same command ends in the weights of an undisturbed run."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest
from small_runs import build, train, weights
from watching import full_beyond

from sage_bench.training import loop
from sage_bench.training.heartbeat import Heartbeat
from sage_bench.utils.errors import SageBenchError, TrainingError
from sage_bench.utils.files import read_jsonl

METHODS = str(Path(__file__).parents[1] / "support" / "rounds_method.py")
WORDS = (
    "train.steps=2",
    "optim.lr=1e-3",
    "optim.warmup_steps=0",
    "validation.source=tiny",
    "validation.every=1",
)
RUN = {"backend": "three_rounds", "backend_files": [METHODS]}


def outcome(folder: Path) -> tuple[object, ...]:
    """What two runs of one configuration have in common, bit for bit."""
    rows = [
        {k: v for k, v in row.items() if not k.startswith("seconds")}
        for name in ("metrics", "ledger", "validation")
        for row in read_jsonl(folder / f"{name}.jsonl")
    ]
    return weights(folder / "checkpoints/step_000002"), rows


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> tuple[tuple[object, ...], list[str]]:
    """(outcome of an undisturbed run, what its heart said at each boundary)."""
    folder = tmp_path_factory.mktemp("straight")
    said: list[str] = []
    beat = Heartbeat.beat

    def noted(heart, activity, **values):
        said.append(activity)
        beat(heart, activity, **values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Heartbeat, "beat", noted)
        train(folder, *WORDS, **RUN)
    return outcome(folder), said


def killed_at(folder: Path, number: int) -> None:
    """A run in a process of its own that is killed at one of its boundaries."""
    pid = os.fork()
    if pid == 0:
        beats = 0
        beat = Heartbeat.beat

        def counted(heart, activity, **values):
            nonlocal beats
            if beats == number:
                os.kill(os.getpid(), signal.SIGKILL)
            beats += 1
            beat(heart, activity, **values)

        Heartbeat.beat = counted
        try:
            train(folder, *WORDS, **RUN)
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def boundaries(said: list[str], which: str) -> list[int]:
    """Numbers of the boundaries; `which`: all of them, or the last whose words begin so."""
    if which == "all":
        return list(range(len(said)))
    return [max(i for i, words in enumerate(said) if words.startswith(which))]


@pytest.mark.parametrize(
    "which",
    [
        "updating the weights",
        "writing checkpoint",
        pytest.param("all", marks=[pytest.mark.slow, pytest.mark.timeout(3600)]),
    ],
)
def test_kill_nine_between_two_stages_loses_nothing(which, straight, tmp_path):
    expected, said = straight
    for number in boundaries(said, which):
        folder = tmp_path / str(number)
        killed_at(folder, number)
        train(folder, *WORDS, **RUN)
        assert outcome(folder) == expected, said[number]


def test_the_boundaries_are_those_of_every_stage(straight):
    kinds = {re.sub(r"\d+", "N", words).split(" against ")[0] for words in straight[1]}
    for stage in (
        "reading the last checkpoint",
        "opening the log files",
        "round N: N Sample of N problems",
        "round N: N Sample of N problems answered, the method goes on",
        "grading N answers",
        "updating the weights with N rows",
        "ending the step",
        "validation on N problems",
        "writing checkpoint step_N",
    ):
        assert stage in kinds


# ---- memory ----
def test_completions_that_do_not_fit_together_are_drawn_in_halves(
    straight, tmp_path, monkeypatch, capsys
):
    tried = full_beyond(monkeypatch, 1)
    train(tmp_path, *WORDS, **RUN)
    assert max(tried) == 4
    assert "CUDA out of memory. Tried to allocate 2.00 GiB: 4 completions are drawn in halves" in (
        capsys.readouterr().err
    )
    tokens = [row["tokens"] for row in read_jsonl(tmp_path / "ledger.jsonl")]
    assert tokens == [row["tokens"] for row in straight[0][1] if "trail" in row]


def test_fixed_places_draw_the_same(straight, tmp_path):
    train(tmp_path, *WORDS, "engine.cuda_graphs=true", **RUN)
    tokens = [row["tokens"] for row in read_jsonl(tmp_path / "ledger.jsonl")]
    assert tokens == [row["tokens"] for row in straight[0][1] if "trail" in row]


def test_one_completion_that_does_not_fit_is_said_and_the_run_goes_on_later(
    straight, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        full_beyond(patch, 0)
        with pytest.raises(SageBenchError, match="a single completion does not fit the device"):
            train(tmp_path, *WORDS, **RUN)
    train(tmp_path, *WORDS, **RUN)
    assert outcome(tmp_path) == straight[0]


# ---- a verifier that hangs ----
def test_a_run_whose_verifier_hung_goes_on_to_the_same_weights(straight, tmp_path):
    run = build(tmp_path, *WORDS, "train.stall_minutes=0.02", **RUN)
    grader = run.context.grader

    class HangsOnce:
        version = grader.version
        graded = 0

        def gold_error(self, gold):
            return grader.gold_error(gold)

        def grade(self, gold, texts):
            self.graded += 1
            if self.graded == 12:  # in the second step
                time.sleep(30)
            return grader.grade(gold, texts)

    run.context.grader = HangsOnce()
    with pytest.raises(TrainingError, match=r"while grading \d answers against"):
        loop.train(run)
    train(tmp_path, *WORDS, **RUN)
    assert outcome(tmp_path) == straight[0]
