"""docs/exit-codes.md is right: errors, signals, and children that go with the program."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from program import run

from sage_bench.utils import errors

PAGE = Path(__file__).resolve().parents[2] / "docs" / "exit-codes.md"


def table() -> dict[int, str]:
    """Code to the whole row of the page."""
    rows = re.findall(r"^\| (\d+) \|(.*)$", PAGE.read_text(encoding="utf-8"), re.M)
    return {int(code): row for code, row in rows}


def test_the_page_has_every_error_with_its_code():
    rows = table()
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.SageBenchError)
    ]
    assert len(kinds) >= 7
    for kind in kinds:
        assert f"`{kind.__name__}`" in rows[kind.exit_code], kind


def test_the_page_has_every_signal_with_its_code():
    for name in ("SIGHUP", "SIGINT", "SIGTERM"):
        assert name in table()[128 + signal.Signals[name]]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--version",), 0),
        (("train", "--model", "/no/such/model", "--data", "tiny", "--dry-run"), 1),
        (("eval", "-m", "fake:0.5", "-t", "tiny_shrt", "--out", "x"), 2),
        (("train", "--frobnicate"), 2),
        ((), 2),
        (("eval", "-m", "fake:1", "-t", "tiny_short:1,sb_amc23", "-L", "2", "--out", "x", "-q"), 3),
        (("doctor", "--no-network", "--out", "/proc/x"), 4),
    ],
)
def test_a_command_leaves_with_the_code_of_the_page(words, code, tmp_path):
    done = run(*words, cwd=tmp_path, HF_DATASETS_OFFLINE="1")
    assert done.returncode == code, done.stderr
    assert code in table()
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_with_its_code_and_takes_the_children_along(number, tmp_path):
    """`demo` has children that train and evaluate; none of them may live on."""
    program = subprocess.Popen(
        [sys.executable, "-m", "sage_bench", "demo", "--out", "demo", "--quiet"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        children = wait_for_children(program.pid)
        time.sleep(1.0)
        program.send_signal(number)
        _, said = program.communicate(timeout=240)
    finally:
        if program.poll() is None:
            os.killpg(program.pid, signal.SIGKILL)
    assert program.returncode == 128 + number
    assert "run the same command again to go on" in said
    assert "Traceback" not in said
    assert not [pid for pid in children if lives(pid)]


def wait_for_children(pid: int) -> list[int]:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        # a child belongs to the thread that started it
        files = Path(f"/proc/{pid}/task").glob("*/children")
        found = [child for file in files for child in file.read_text().split()]
        if found:
            return [int(child) for child in found]
        time.sleep(0.1)
    raise AssertionError("the demo began nothing")


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("verb", ["eval", "status"])
def test_any_verb_leaves_with_the_code_of_the_signal(verb, number, tmp_path, monkeypatch):
    """The signal comes while the verb is at work, in this process."""
    from sage_bench.api import evaluation
    from sage_bench.reporting import status

    def at_work(*words: object, **more: object) -> None:
        os.kill(os.getpid(), number)
        time.sleep(5)

    monkeypatch.setattr(evaluation, "run_evaluation", at_work)
    monkeypatch.setattr(status, "status", at_work)
    words = {"eval": ("-m", "fake:1", "-t", "tiny_short", "--out", "x"), "status": (".",)}
    done = run(verb, *words[verb], cwd=tmp_path)
    assert done.returncode == 128 + number
    assert "run the same command again to go on" in done.stderr
    assert signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)
