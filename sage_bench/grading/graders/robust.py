"""The default grader: as strict as a mathematician, tolerant of form."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from importlib.metadata import version

from sage_bench.grading.exact import number, spelled
from sage_bench.grading.extract import closing_brace, extract
from sage_bench.grading.pool import Pool, shared_pool
from sage_bench.grading.registry import register_grader
from sage_bench.grading.verdict import Verdict

EQUIVALENT, READABLE = "sage_bench.grading.robust:equivalent", "sage_bench.grading.robust:readable"
FAR = Fraction(1, 10)
_LIST = re.compile(r",(?!\d{3}(?!\d))|;|\\pm|\b(?:and|or)\b|\\text|\\cup")


@register_grader("robust")
class Robust:
    r"""Ours: reads intervals, sets, lists, tuples, equations, units, percent, matrices, functions,
    words; exact arithmetic; math-verify for the rest.

    The last box counts; where the gold is a list, all boxes of the closing sentence do. Never true
    for a wrong unit, a missing solution or a reordered tuple. Plain numbers are compared here,
    everything else in processes that can be killed.

    >>> [v.correct for v in Robust().grade("[0, 1)", [r"\boxed{0 \le x < 1}", r"\boxed{[0,1]}", "[0, 1)"])]
    [True, False, False]
    """

    def __init__(self, pool: Pool | None = None):
        self.pool = pool
        self.version = (
            f"robust 2, math_verify {version('math-verify')}, antlr"
            f" {version('antlr4-python3-runtime')}, sympy {version('sympy')}, mpmath"
            f" {version('mpmath')}"
        )

    def grade(self, gold: str, texts: Sequence[str]) -> list[Verdict]:
        found = [_answers(gold, t) for t in texts]
        distinct = list(dict.fromkeys(a for answers in found for a in answers))
        replies = {
            a: {"correct": short, "status": "ok"}
            for a in distinct
            if (short := short_cut(gold, a)) is not None
        }
        slow = [a for a in distinct if a not in replies]
        if slow:
            replies.update(
                zip(
                    slow,
                    (self.pool or shared_pool()).compare([(gold, a, EQUIVALENT) for a in slow]),
                    strict=True,
                )
            )
        out = []
        for answers in found:
            best = next(
                (a for a in answers if replies[a]["correct"]), answers[0] if answers else None
            )
            out.append(
                Verdict(replies[best]["correct"], replies[best]["status"], best)
                if best
                else Verdict(False, "no_answer")
            )
        return out

    def gold_error(self, gold: str) -> str | None:
        if not any(c.isalnum() for c in gold):
            return "the answer is empty"
        box = "\\boxed{" + gold + "}"
        if closing_brace(box, len("\\boxed")) != len(box) - 1:
            return "the answer's braces do not balance"
        if number(gold) is not None:
            return None
        (reply,) = (self.pool or shared_pool()).compare([(gold, "", READABLE)])
        return None if reply["correct"] else f"the answer cannot be read ({reply['status']})"


def _answers(gold: str, text: str) -> list[str]:
    """The last box, and the boxes of the closing sentence where the gold names several things."""
    last = extract(text)
    if not last.answer:
        return []
    joined = extract(text, several=True) if _LIST.search(gold) else last
    return (
        [last.answer]
        if joined.status == "boxed" or not joined.answer
        else [last.answer, joined.answer]
    )


def short_cut(gold: str, answer: str) -> bool | None:
    """The verdict where both are plain numbers, equal or far apart (no rounding bridges `FAR`);
    None where more is to be read.

    >>> short_cut("734", "0734"), short_cut("734", "735"), short_cut("0.5", "1/2"), short_cut("1,234", "1234"), short_cut("x", "y")
    (True, False, True, True, None)
    >>> short_cut("0.75", "0.81"), short_cut("1/3", "0.3333")
    (None, None)
    """
    a, b = number(gold), number(answer)
    if a is None or b is None:
        return True if spelled(gold) == spelled(answer) and "," not in gold else None
    if a == b:
        return True
    if "," in gold or "," in answer:
        return None  # perhaps a list
    return False if a.denominator == b.denominator == 1 or abs(a - b) > FAR * abs(a) else None
