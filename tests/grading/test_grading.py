"""The verifier: what it extracts, when it says yes, and that nothing can hang or crash it."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from data_files import rows_of
from hypothesis import given, settings
from hypothesis import strategies as st

from sage_bench.grading import last_boxed
from sage_bench.grading.exact import number, spelled
from sage_bench.grading.extract import extract
from sage_bench.grading.graders.math_verify import MathVerify
from sage_bench.grading.graders.released import eval_box, train_box
from sage_bench.grading.pool import Pool


@pytest.fixture(scope="module")
def pool():
    pool = Pool(workers=2, timeout=3.0)
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def grader(pool) -> MathVerify:
    return MathVerify(pool)


@pytest.mark.parametrize(
    ("text", "box"),
    [
        (r"\boxed{5}", "5"),
        (r"\boxed{3} wait \boxed{4}", "4"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\{1,2\}}", r"\{1,2\}"),
        (r"\boxed {5}", "5"),
        (r"\fbox{5}", "5"),
        (r"\boxed{7} then \boxed{8", "7"),
        (r"\boxed{", None),
        ("5", None),
        (r"\boxed 5", None),
        ("", None),
        (r"\boxed{}", ""),
        (r"\boxed{a\\}", r"a\\"),
    ],
)
def test_the_last_balanced_box_is_the_answer(text, box):
    assert last_boxed(text) == box


@settings(max_examples=300)
@given(st.text(st.sampled_from("\\{}boxed1 "), max_size=60))
def test_extraction_survives_any_text(text):
    assert last_boxed(text) is None or isinstance(last_boxed(text), str)


def test_extraction_takes_one_pass_over_endless_repetition():
    for text in ("\\boxed{" * 20_000, "\\boxed{x}" * 20_000, "{" * 100_000 + "\\boxed{7}"):
        began = time.process_time()
        assert last_boxed(text) in {None, "x", "7"}
        assert extract(text, several=True).status in {
            "none",
            "boxed",
            "boxed_joined",
        }
        assert train_box(text) == eval_box(text)
        assert eval_box(text) in {None, "x", "7"}
        assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("gold", "answer", "right"),
    rows_of("math_verify_pairs.jsonl"),
)
def test_equivalence(gold, answer, right, grader):
    (verdict,) = grader.grade(gold, [rf"so \boxed{{{answer}}}"])
    assert (verdict.correct, verdict.status, verdict.extracted) == (right, "ok", answer)


def test_statuses_say_how_it_went(grader):
    texts = [r"\boxed{x}", "no box", r"\boxed{}", r"\boxed{\frac{}{}}"]
    assert [v.status for v in grader.grade("x", texts)] == [
        "ok",
        "no_answer",
        "no_answer",
        "parse_error",
    ]


def test_a_hanging_comparison_is_killed_and_the_others_go_on(grader):
    began = time.monotonic()
    verdicts = grader.grade(
        "3", [r"\boxed{9^{9^{9^9}}}", r"\boxed{\sqrt{9}}", r"\boxed{\sqrt{16}}", r"\boxed{3^1}"]
    )
    assert [(v.correct, v.status) for v in verdicts] == [
        (False, "timeout"),
        (True, "ok"),
        (False, "ok"),
        (True, "ok"),
    ]
    assert time.monotonic() - began < 60
    assert grader.grade("3", [r"\boxed{\sqrt{9}}"])[0].correct  # the pool is whole again


def test_a_process_that_died_idle_is_replaced_and_no_grade_is_lost(pool):
    """A crash is one that happens again in a fresh process (`test_pool`)."""
    pool.compare([("1", "2")])
    for worker in pool._workers:
        worker.process.kill()
        worker.process.wait()
    assert [r["status"] for r in pool.compare([("x", "y"), ("a", "b")])] == ["ok", "ok"]
    assert pool.compare([("x+1", "1+x")])[0]["correct"]


def test_numbers_of_any_length_are_graded(grader):
    """Neither float overflow nor Python's limit on the digits of an integer may end a run."""
    long = "7" * 6000
    verdicts = grader.grade(
        "0.5", [rf"\boxed{{{'7' * 500}}}", rf"\boxed{{{long}}}", rf"\boxed{{\frac{{{long}}}{{3}}}}"]
    )
    assert [v.correct for v in verdicts] == [False] * 3
    assert verdicts[0].status == "ok"
    assert grader.grade(long, [rf"\boxed{{{long}}}"])[0].correct


def test_an_interrupted_call_leaves_no_stale_reply(monkeypatch):
    pool = Pool(workers=1, timeout=20.0)
    pool.compare([("1", "1")])
    with monkeypatch.context() as m:
        m.setattr(Pool, "_attend", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            pool.compare([("x", "x")])
    assert [r["correct"] for r in pool.compare([("x", "y"), ("x+1", "1+x")])] == [False, True]
    pool.close()


def test_memory_is_capped_and_processes_are_recycled(monkeypatch, tmp_path):
    (tmp_path / "hog.py").write_text(
        "def hog(gold, answer):\n    return {'correct': bool(bytearray(3 << 30)), 'status': 'ok'}\n"
    )
    monkeypatch.setenv("SAGEBENCH_GRADER_MEMORY_GIB", "1.5")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    pool = Pool(workers=1, timeout=30.0)
    (reply,) = pool.compare([("a", "b", "hog:hog")])
    assert (reply["correct"], reply["status"]) == (False, "crash")
    assert "MemoryError" in reply["error"]
    monkeypatch.setattr("sage_bench.grading.pool.RECYCLE", 3)
    before = pool._workers[0].process.pid
    pool.compare([("x", "x")])
    assert pool._workers[0].process.pid == before
    pool.compare([("x+1", "1+x")])
    assert pool.compare([("x+1", "1+x")])[0]["correct"]
    assert pool._workers[0].process.pid != before
    pool.close()


def test_it_works_in_threads_and_in_asyncio(grader):
    found: list[bool] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(grader.grade("x+1", [r"\boxed{1+x}"])[0].correct)
        )
        for _ in range(4)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()

    async def main():
        return grader.grade("2y", [r"\boxed{y+y}"])[0].correct

    assert found == [True] * 4
    assert asyncio.run(main())


@pytest.mark.parametrize(
    ("gold", "good"),
    [
        ("7", True),
        (r"\frac{1}{2}", True),
        ("(1,2]", True),
        ("D", True),
        (r"\text{Friday}", True),
        ("", False),
        ("???", False),
        (r"\frac{1}{", False),
        ("}", False),
        (r"\sqrt[", False),
        (r"\begin{cases}", False),
    ],
)
def test_golds_that_cannot_be_graded_against_are_named(gold, good, grader):
    assert (grader.gold_error(gold) is None) is good


@given(st.integers(-(10**6), 10**6), st.integers(1, 10**4))
def test_exact_numbers(a, b):
    from fractions import Fraction

    assert number(f"{a}/{b}") == number(rf"\frac{{{a}}}{{{b}}}") == Fraction(a, b)
    assert number(f"{a:,}") == a
    assert spelled(f" ${a}$. ") == str(a)
