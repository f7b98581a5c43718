"""The robust grader: boxes, statuses, speed, threads, and golds of benchmarks."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time

from sage_bench.grading.canary import canaries
from sage_bench.grading.graders.math_verify import MathVerify
from sage_bench.grading.graders.mcq import Mcq
from sage_bench.grading.graders.robust import Robust
from sage_bench.grading.graders.string import String
from sage_bench.grading.pool import Pool
from sage_bench.grading.robust import readable


def box(answer: str) -> str:
    return rf"so the answer is $\boxed{{{answer}}}$."


def test_boxes_of_the_closing_sentence_are_joined_for_lists_only(robust):
    text = r"The maximum is $\boxed{3}$ and the minimum is $\boxed{1}$."
    assert [
        robust.grade(gold, [text])[0].correct for gold in ("1, 3", "1", "3", r"\{1,3\}", "1, 4")
    ] == [True, True, False, True, False]
    assert not robust.grade("3, 4", [r"It is \boxed{3}. No, wait: it is \boxed{4}."])[0].correct


def test_statuses_and_golds(robust):
    assert [
        v.status
        for v in robust.grade(
            "x", [box("x"), "no box", box(""), r"\boxed{\frac{}{}}", r"<think> \boxed{x}"]
        )
    ] == ["ok", "no_answer", "no_answer", "parse_error", "no_answer"]
    assert [
        robust.gold_error(g) is None
        for g in ("7", "(1,2]", r"\text{Friday}", "D", "", "}", r"\frac{1}{", "???")
    ] == [True] * 4 + [False] * 4
    assert readable(r"\begin{cases} 1 & x > 0 \\ 0 & x < 0 \end{cases}", "")["status"] == "ok"


class Asked:
    """A pool that answers nothing and counts what it is asked."""

    def __init__(self):
        self.jobs = 0

    def distinct(self, jobs):
        self.jobs += len(jobs)
        return {job: {"correct": False, "status": "ok"} for job in jobs}


def test_plain_numbers_are_compared_without_a_process():
    """What they cost is in `python -m benchmarks grading`; here: that the short cut takes them."""
    pool = Asked()
    golds = (
        [str(n) for n in range(-500, 1000)]
        + [f"{n}/7" for n in range(1, 400)]
        + [f"{n}.25" for n in range(400)]
    )
    assert all(Robust(pool).grade(gold, [box(gold)])[0].correct for gold in golds)
    assert not any(Robust(pool).grade(gold, [box("12345")])[0].correct for gold in golds)
    assert pool.jobs == 0
    Robust(pool).grade("x", [box("y")])
    assert pool.jobs == 1


def test_minerva_golds_in_e_notation_grade_themselves_and_powers_of_ten(shared, robust):
    rows = [
        json.loads(line)["answer"]
        for line in (shared / "data/benchmarks/minerva.jsonl").read_text().splitlines()
    ]
    golds = [g for g in rows if re.fullmatch(r"-?[\d.]+e-?\d+", g)]
    assert len(rows) == 272
    assert len(golds) == 58
    for gold in golds:
        mantissa, power = gold.split("e")
        forms = [
            gold,
            rf"{mantissa}\times10^{{{power}}}",
            rf"{mantissa} \cdot 10^{{{power}}}",
            f"{mantissa}×10^{power}" if "-" not in power else gold,
        ]
        assert robust.gold_error(gold) is None and all(
            v.correct for v in robust.grade(gold, [box(f) for f in forms])
        ), gold
        assert (
            not any(
                v.correct
                for v in robust.grade(
                    gold, [box(mantissa), box(rf"{mantissa}\times10^{{{int(power) + 1}}}")]
                )
            )
            or power == "0"
        )


def test_leading_zeros_of_aime(robust):
    assert [
        v.correct
        for v in robust.grade(
            "033", [box("33"), box("033"), box("33.0"), box("330"), box(r"\textbf{33}")]
        )
    ] == [True, True, True, False, True]


def test_the_percent_canary(robust, pool):
    assert all(
        v.correct
        for v in robust.grade(r"50\%", [box("50"), box("0.5"), box(r"50\%"), box(r"\frac12")])
    )
    assert {(c.gold, c.answer): c.well for c in canaries(pool)}["50", r"50\%"]


def test_grading_works_in_threads_and_under_asyncio(robust):
    found: list[bool] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(robust.grade("[0,1)", [box(r"0 \le x < 1")])[0].correct)
        )
        for _ in range(4)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()

    async def main():
        return await asyncio.gather(
            *(asyncio.to_thread(robust.grade, "2y", [box("y+y")]) for _ in range(3))
        ), robust.grade("x+1", [box("1+x")])

    several, one = asyncio.run(main())
    assert found == [True] * 4
    assert all(v[0].correct for v in several)
    assert one[0].correct


def test_a_hanging_comparison_is_killed_and_the_run_goes_on():
    pool = Pool(workers=1, timeout=3.0)
    began = time.monotonic()
    verdicts = MathVerify(pool).grade("3", [box("9^{9^{9^9}}"), box(r"\sqrt{9}")])
    assert [(v.correct, v.status) for v in verdicts] == [(False, "timeout"), (True, "ok")]
    verdicts = Robust(pool).grade(
        "3", [box("9^{9^{9^9}}"), box(r"\sqrt{9}"), box(r"\int_0^{9^{9^9}} 9^{9^{9^x}} dx")]
    )
    assert [v.correct for v in verdicts] == [False, True, False]
    assert time.monotonic() - began < 60
    pool.close()


def test_thinking_that_was_cut_off_is_no_answer(robust, pool):
    cut = r"<think> maybe it is \boxed{12}, let me check"
    for grader, gold in ((robust, "12"), (MathVerify(pool), "12"), (String(), "12"), (Mcq(), "B")):
        text = cut.replace("12", gold)
        verdicts = grader.grade(gold, [text, text + rf" </think> It is \boxed{{{gold}}}."])
        assert [(v.correct, v.status) for v in verdicts] == [(False, "no_answer"), (True, "ok")]


def test_the_gold_goes_first(pool):
    """math-verify is not symmetric: an interval gold refuses an inequality, an inequality gold
    takes an interval."""
    math_verify = MathVerify(pool)
    assert not math_verify.grade("[0,1)", [box(r"0 \leq x < 1")])[0].correct
    assert math_verify.grade(r"0 \leq x < 1", [box("[0,1)")])[0].correct
    assert Robust(pool).grade("[0,1)", [box(r"0 \leq x < 1")])[0].correct
    assert Robust(pool).grade(r"0 \leq x < 1", [box("[0,1)")])[0].correct
