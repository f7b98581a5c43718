"""`sage-bench view`: samples of one run in a terminal, in a pipe, and as JSON."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time

import numpy as np
import pytest
from program import run
from runs import write_run

from sage_bench.cli.pager import Pager, wrapped
from sage_bench.reporting.entries import entries


@pytest.fixture
def folder(tmp_path):
    """Two benchmarks, two questions each; 7 is right, "" was cut at the token limit."""
    answers = {
        "tiny_short": np.array([["7", "5"], ["", "7"]]),
        "tiny_long": np.array([["7", "7"], ["1", ""]]),
    }
    return write_run(tmp_path / "run", "grpo", answers)


def shown(folder, *words):
    done = run("view", folder, *words, "--json")
    assert done.returncode == 0, done.stderr
    return [(e["question"], e["sample"]) for e in json.loads(done.stdout)]


def test_a_pipe_gets_every_sample_as_text(folder):
    done = run("view", folder)
    assert done.returncode == 0
    assert done.stdout.count("gold: 7") == 8
    assert done.stdout.rstrip().endswith("8 of 8 samples")


def test_wrong_ones_only(folder):
    wrong = [("tiny_short-0", 1), ("tiny_short-1", 0), ("tiny_long-1", 0), ("tiny_long-1", 1)]
    assert shown(folder, "--wrong") == wrong


def test_filters_join(folder):
    assert shown(folder, "--wrong", "--no-answer", "--task", "tiny_long") == [("tiny_long-1", 1)]


def test_one_question(folder):
    assert shown(folder, "--question", "tiny_short-1") == [("tiny_short-1", 0), ("tiny_short-1", 1)]


def test_an_unknown_question_names_the_closest(folder):
    done = run("view", folder, "--question", "tiny_shrt-1")
    assert done.returncode == 2
    assert "did you mean `tiny_short-1`" in done.stderr


def test_an_unknown_benchmark_lists_those_there_are(folder):
    done = run("view", folder, "--task", "nope")
    assert done.returncode == 2
    assert "one of tiny_short, tiny_long" in done.stderr


def test_several_runs_are_refused_with_their_names(folder, tmp_path):
    write_run(tmp_path / "other", "sage", {"tiny_short": np.array([["7"]])})
    done = run("view", tmp_path)
    assert done.returncode == 2
    assert str(folder) in done.stderr


def test_graders_that_disagree(folder):
    file = folder / "grades" / "tiny_short.math_verify.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    rows[1]["correct"] = True
    (folder / "grades" / "tiny_short.oat.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows)
    )
    assert shown(folder, "--disagree") == [("tiny_short-0", 1)]


def test_the_groups_of_a_training_run(tmp_path):
    group = {"step": 3, "uid": "u1", "level": 2, "prompt": "1+1", "hint": "add", "answer": "2"}
    group["completions"] = [
        {"text": "it is 2", "finish": "stop", "reward": 1.0},
        {"text": "it is 3", "finish": "stop", "reward": 0.0},
    ]
    (tmp_path / "manifest.json").write_text('{"kind": "train"}')
    (tmp_path / "completions.jsonl").write_text(json.dumps(group) + "\n")
    done = run("view", tmp_path, "--hinted", "--right")
    assert "step 3/u1" in done.stdout
    assert "hint: add" in done.stdout
    assert "it is 2" in done.stdout
    assert "it is 3" not in done.stdout


# ---- the pager, without a terminal --------------------------------------------------------------
@pytest.fixture
def pager(folder):
    return Pager(entries(folder))


def place(pager):
    return pager.here.question, pager.here.sample


@pytest.mark.parametrize(
    ("keys", "at"),
    [
        (" ", ("tiny_short-0", 1)),
        ("  h", ("tiny_short-0", 1)),
        ("j", ("tiny_short-1", 0)),
        ("jjk", ("tiny_short-1", 0)),
        ("w", ("tiny_short-0", 1)),
        ("wn", ("tiny_short-1", 0)),
        ("w0", ("tiny_short-0", 1)),
        ("jjjjjjj", ("tiny_long-1", 0)),
        ("hhh", ("tiny_short-0", 0)),
    ],
)
def test_keys_move(pager, keys, at):
    assert all(pager.press(key) for key in keys)
    assert place(pager) == at


def test_a_search_goes_to_the_question(pager):
    pager.press("/long-1")
    assert place(pager) == ("tiny_long-1", 0)


def test_a_search_without_a_hit_says_so(pager):
    pager.press("/nope")
    assert "no question with `nope`" in "\n".join(line.plain for line in pager.screen(60, 20))


def test_the_screen_has_the_height_it_is_given(pager):
    assert len(pager.screen(60, 24)) == 24


def test_no_sample_passes(pager):
    pager.press("w")
    pager.press("r")
    assert "No sample passes" in pager.screen(60, 20)[0].plain


def test_a_long_completion_scrolls(folder):
    file = folder / "samples" / "tiny_short.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    rows[0]["text"] = "\n".join(f"line {i}" for i in range(100))
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pager = Pager(entries(folder))
    before = [line.plain for line in pager.screen(60, 20)]
    pager.press("d")
    after = [line.plain for line in pager.screen(60, 20)]
    assert "line 0" in before
    assert "line 0" not in after
    assert "more lines" in before[-1]


def test_what_a_model_wrote_does_nothing_to_the_terminal():
    text = "a\x1b[2J\x1b]0;owned\x07b [bold]c[/bold]\x9b31m"
    lines = wrapped(text, 80)
    assert lines == ["ab [bold]c[/bold]31m"]


@pytest.mark.slow
def test_a_real_terminal(folder):
    """Keys in, screens out, the terminal as it was at the end."""
    outside, inside = pty.openpty()
    command = [sys.executable, "-m", "sage_bench", "view", str(folder)]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    process = subprocess.Popen(command, stdin=inside, stdout=inside, stderr=inside, env=environment)
    os.close(inside)
    try:
        assert "sample 0" in until(outside, "1 of 8")
        os.write(outside, b"w")
        assert "sample 1" in until(outside, "1 of 4 (wrong)")
        os.write(outside, b"q")
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(outside)


def until(terminal: int, words: str, seconds: float = 120) -> str:
    """What the terminal shows until these words came."""
    seen = b""
    end = time.monotonic() + seconds
    while words.encode() not in seen:
        assert time.monotonic() < end, f"{words!r} did not come: {seen[-2000:]!r}"
        if select.select([terminal], [], [], 1)[0]:
            seen += os.read(terminal, 65536)
    return seen.decode(errors="replace")
