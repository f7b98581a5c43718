"""The pool of comparers: busy machines, signals, shutdown, rows that crash."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sage_bench.grading.graders.robust import Robust
from sage_bench.grading.pool import Pool, PoolError

SLOW = r"""
import os, pathlib, time

def burn(gold, answer):
    "Computes for as many seconds of processor time as the gold says."
    end = time.process_time() + float(gold)
    while time.process_time() < end:
        pass
    return {"correct": True, "status": "ok"}

def multiply(gold, answer):
    "One long multiplication, in which no Python code runs."
    n = 3 ** 200_000_000
    return {"correct": n > 0, "status": "ok"}

def once(gold, answer):
    "Dies the first time it is called for this file, says yes the second time."
    file = pathlib.Path(gold)
    if not file.exists():
        file.write_text("")
        os._exit(3)
    return {"correct": True, "status": "ok"}

def always(gold, answer):
    os._exit(3)

def nap(gold, answer):
    time.sleep(float(gold))
    return {"correct": True, "status": "ok"}
"""


@pytest.fixture
def quick(tmp_path, monkeypatch):
    (tmp_path / "slow.py").write_text(SLOW)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    pool = Pool(workers=1, timeout=1.0)
    yield pool
    pool.close()


def started(pool: Pool) -> int:
    """The process id of the one worker, once it is ready."""
    pool.compare([("x", "x")])
    return pool._workers[0].process.pid


def test_time_is_processor_time(quick):
    """A child that gets the processor late has as much of it as any other."""
    pid = started(quick)
    os.kill(pid, signal.SIGSTOP)
    threading.Timer(3.0, os.kill, (pid, signal.SIGCONT)).start()
    assert quick.compare([("0.5", "", "slow:burn")])[0] == {"correct": True, "status": "ok"}
    assert quick._workers[0].process.pid == pid


def test_sleeping_costs_no_processor_time(quick):
    assert quick.compare([("2.0", "", "slow:nap")])[0]["correct"]


@pytest.mark.parametrize("how", ["slow:burn", "slow:multiply"])
def test_what_uses_its_time_up_is_a_timeout(quick, how):
    (lost, kept) = quick.compare([("60", "", how), ("x+1", "1+x")])
    assert lost == {"correct": False, "status": "timeout"}
    assert kept["correct"]


def test_a_verdict_does_not_depend_on_what_else_the_machine_does(quick):
    busy = "while True: pass"
    others = [subprocess.Popen([sys.executable, "-c", busy]) for _ in range(6)]
    try:
        replies = quick.compare([("0.4", "", "slow:burn")] * 2)
    finally:
        for other in others:
            other.kill()
            other.wait()
    assert [r["status"] for r in replies] == ["ok", "ok"]


def test_a_crash_is_one_that_happens_twice(quick, tmp_path):
    once, always = quick.compare(
        [(str(tmp_path / "mark"), "", "slow:once"), ("", "", "slow:always")]
    )
    assert once == {"correct": True, "status": "ok"}
    assert always == {"correct": False, "status": "crash"}


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_process_that_is_ended_from_outside_gives_no_grade(quick, signum):
    pid = started(quick)
    threading.Timer(0.5, os.kill, (pid, signum)).start()
    assert quick.compare([("1.5", "", "slow:nap")])[0] == {"correct": True, "status": "ok"}
    assert quick._workers[0].process.pid != pid


def test_a_pool_that_is_closed_meanwhile_raises_instead_of_grading(quick):
    started(quick)
    threading.Timer(0.5, quick.close).start()
    with pytest.raises(PoolError, match="closed"):
        quick.compare([("5", "", "slow:nap")])


def test_what_gets_no_processor_at_all_is_an_error_and_no_grade(quick, monkeypatch):
    monkeypatch.setattr("sage_bench.grading.pool.WALL_PER_CPU", 1.0)
    pid = started(quick)
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(PoolError, match="no answer in 1 s"):
        quick.compare([("x+1", "1+x")])


INTERRUPTED = """
import os, signal, sys
from sage_bench.grading.graders.robust import Robust

signal.signal(signal.SIGINT, lambda *_: print("interrupted", flush=True))
grader = Robust()
grader.grade("x", [r"\\boxed{x+0}"])
print("ready", flush=True)
sys.stdin.readline()
for _ in range(20):
    (verdict,) = grader.grade("x + y", [r"\\boxed{y + x}"])
    print(verdict.status, verdict.correct, flush=True)
"""


def test_ctrl_c_on_a_terminal_reaches_the_run_and_not_its_comparers():
    """SIGINT goes to the whole process group, as a terminal sends it."""
    run = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert run.stdout.readline() == "ready\n"
    os.killpg(run.pid, signal.SIGINT)
    time.sleep(0.3)
    told, _ = run.communicate("\n", timeout=120)
    assert told.splitlines()[0] == "interrupted"
    assert told.splitlines()[1:] == ["ok True"] * 20


# --- hostile answers -----------------------------------------------------------------------------
LENGTH = 200_000
HOSTILE = {
    "digits": "7" * LENGTH,
    "open brackets": "(" * LENGTH,
    "brackets": "(" * LENGTH + "1" + ")" * LENGTH,
    "braces": "{" * LENGTH + "1" + "}" * LENGTH,
    "set braces": r"\{" * LENGTH + "1" + r"\}" * LENGTH,
    "square brackets": "[" * LENGTH + "]" * LENGTH,
    "fractions": r"\frac{1}{" * (LENGTH // 9) + "2" + "}" * (LENGTH // 9),
    "roots": r"\sqrt{" * (LENGTH // 6) + "2" + "}" * (LENGTH // 6),
    "texts": r"\text{" * (LENGTH // 6) + "a" + "}" * (LENGTH // 6),
    "powers": "2^" * (LENGTH // 2) + "2",
    "minus signs": "-" * LENGTH + "1",
    "factorials": "3" + "!" * LENGTH,
    "commas": "1," * (LENGTH // 2) + "1",
    "words": "word " * (LENGTH // 5),
    "dollars": "$" * LENGTH,
    "backslashes": "\\" * LENGTH,
    "bars": "|" * LENGTH,
    "primes": "f" + "'" * LENGTH,
    "matrix": r"\begin{pmatrix}" + r"1 & 2 \\ " * (LENGTH // 9) + r"\end{pmatrix}",
    "boxes": r"\boxed{" * (LENGTH // 7) + "1" + "}" * (LENGTH // 7),
    "unions": r"(0,1)\cup" * (LENGTH // 9) + "(0,1)",
    "inequalities": "x<" * (LENGTH // 2) + "x",
    "surrogates": "\ud800" * LENGTH,
    "superscripts": "x" + "²" * LENGTH,
    "spaces": "1" + " " * LENGTH + "2",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_answers_are_graded_and_crash_nothing(name, robust):
    hostile = HOSTILE[name]
    for gold, answer in (("7", hostile), ("(1, 2)", hostile)):
        began = time.process_time()
        (verdict,) = robust.grade(gold, [rf"\boxed{{{answer}}}"])
        assert verdict.status in {"ok", "parse_error", "no_answer"}, (name, gold)
        assert not verdict.correct
        assert time.process_time() - began < 10


def test_a_hostile_gold_costs_its_row_only(robust):
    for hostile in ("(" * LENGTH, r"\sqrt{" * 5000 + "2" + "}" * 5000, "9^" * 1000 + "9"):
        assert not robust.grade(hostile, [r"\boxed{7}"])[0].correct
        assert robust.grade("7", [r"\boxed{7}"])[0].correct


def test_the_slowest_row_takes_its_ten_seconds_and_no_more():
    pool = Pool(workers=1, timeout=2.0)
    grader = Robust(pool)
    rows = [
        "9^{9^{9^9}}",
        r"\sum_{k=1}^{10^9} \frac{1}{k}",
        "(" + "+".join(f"x_{{{i}}}" for i in range(60)) + ")^{50}",
        r"\binom{100000}{50000}^{1000}",
        "((((((10!)!)!)!)!)!)",
    ]
    for answer in rows:
        began = time.monotonic()
        (verdict,) = grader.grade("x^2 + 1", [rf"\boxed{{{answer}}}"])
        assert verdict.status in {"ok", "timeout", "parse_error"}, answer
        assert not verdict.correct
        assert time.monotonic() - began < 60
    pool.close()
