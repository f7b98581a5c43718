"""The default grader: as strict as a mathematician, tolerant of form."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from importlib.metadata import version

from sage_bench.grading.exact import number, spelled
from sage_bench.grading.extract import extract
from sage_bench.grading.golds import written_error
from sage_bench.grading.pool import Pool, shared_pool
from sage_bench.grading.registry import register_grader
from sage_bench.grading.verdict import Verdict
from sage_bench.grading.worker import Reply

EQUIVALENT, READABLE = "sage_bench.grading.robust:equivalent", "sage_bench.grading.robust:readable"
DISTANCE = "sage_bench.grading.robust.tolerance:distance"
PACKAGES = {
    "math_verify": "math-verify",
    "antlr": "antlr4-python3-runtime",
    "sympy": "sympy",
    "mpmath": "mpmath",
}
FAR = Fraction(1, 10)  # relatively; no rounding bridges it
_LIST = re.compile(r",(?!\d{3}(?!\d))|;|\\pm|\b(?:and|or)\b|\\text|\\cup")


@register_grader("robust")
class Robust:
    r"""Ours: reads intervals, sets, lists, tuples, equations, units, percent, matrices, functions,
    words; exact arithmetic; math-verify for the rest.

    The last box counts; where the gold is a list, all boxes of the closing sentence do. Never true
    for a wrong unit, a missing solution or a reordered tuple. Plain numbers are compared here,
    everything else in processes that can be killed. There is no tolerance unless the name asks for
    one: `robust~1e-3` also takes what is within a thousandth of a gold with a decimal point.

    >>> texts = [r"\boxed{0 \le x < 1}", r"\boxed{[0,1]}", "[0, 1)"]
    >>> [v.correct for v in Robust().grade("[0, 1)", texts)]
    [True, False, False]
    """

    # the largest relative difference from a decimal gold that counts; `robust~1e-3` sets it
    tolerance = 0.0

    def __init__(self, pool: Pool | None = None):
        self.pool = pool
        packages = [f"{name} {version(package)}" for name, package in PACKAGES.items()]
        tolerant = [f"decimals within {self.tolerance:g}"] if self.tolerance else []
        self.version = ", ".join(["robust 4", *tolerant, *packages])

    def grade(self, gold: str, texts: Sequence[str]) -> list[Verdict]:
        found = [_answers(gold, t) for t in texts]
        distinct = list(dict.fromkeys(a for answers in found for a in answers))
        short = {a: short_cut(gold, a) for a in distinct}
        slow = [(gold, a, EQUIVALENT) for a in distinct if short[a] is None]
        replies = (self.pool or shared_pool()).distinct(slow)
        near = self._near(gold, distinct) if self.tolerance else frozenset()
        verdicts = []
        for answers in found:
            said = [
                _verdict(a, True if a in near else short[a], replies.get((gold, a, EQUIVALENT)))
                for a in answers
            ]
            right = [v for v in said if v.correct]
            first = next(iter(right + said), None)
            verdicts.append(first or Verdict(False, "no_answer"))
        return verdicts

    def _near(self, gold: str, answers: Sequence[str]) -> frozenset[str]:
        """The answers within the tolerance of a decimal gold."""
        jobs = [(gold, answer, DISTANCE) for answer in answers]
        replies = (self.pool or shared_pool()).distinct(jobs)
        far = float("inf")
        return frozenset(
            answer
            for (_, answer, _), reply in replies.items()
            if reply.get("distance", far) <= self.tolerance
        )

    def gold_error(self, gold: str) -> str | None:
        if (error := written_error(gold)) is not None:
            return error
        if number(gold) is not None:
            return None
        (reply,) = (self.pool or shared_pool()).compare([(gold, "", READABLE)])
        return None if reply["correct"] else f"the answer cannot be read ({reply['status']})"


def _verdict(answer: str, short: bool | None, reply: Reply | None) -> Verdict:
    """By the short cut where it decided, else by the comparison's reply."""
    if short or reply is None:
        return Verdict(bool(short), "ok", answer)
    return Verdict(reply["correct"], reply["status"], answer)


def _answers(gold: str, text: str) -> list[str]:
    """The last box, and the boxes of the closing sentence where the gold names several things."""
    last = extract(text)
    if not last.answer:
        return []
    if not _LIST.search(gold):
        return [last.answer]
    joined = extract(text, several=True)
    if joined.status == "boxed" or not joined.answer:
        return [last.answer]
    return [last.answer, joined.answer]


def short_cut(gold: str, answer: str) -> bool | None:
    """The verdict where both are plain numbers, equal or far apart; None where more is to be read.

    >>> short_cut("734", "0734"), short_cut("734", "735"), short_cut("0.5", "1/2")
    (True, False, True)
    >>> short_cut("1,234", "1234"), short_cut("x", "y"), short_cut("0.75", "0.81")
    (True, None, None)
    """
    a, b = number(gold), number(answer)
    if a is None or b is None:
        return True if spelled(gold) == spelled(answer) and "," not in gold else None
    if a == b:
        return True
    if "," in gold or "," in answer:
        return None  # perhaps a list
    both_whole = a.denominator == b.denominator == 1
    return False if both_whole or abs(a - b) > FAR * abs(a) else None
