"""math-verify, with care: last box, then equal spelling, equal number, math-verify."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from importlib.metadata import version

from sage_bench.grading.exact import number, spelled
from sage_bench.grading.extract import closing_brace, given_answer
from sage_bench.grading.pool import READABLE, Pool, shared_pool
from sage_bench.grading.registry import register_grader
from sage_bench.grading.verdict import Verdict

CLOSE = Fraction(
    1, 10_000
)  # decimals nearer than this may be equal up to rounding: math-verify decides, not we


@register_grader("math_verify")
class MathVerify:
    r"""SAGE's training verifier (spec 4.1) with exact short cuts before math-verify and killable
    processes around it.

    >>> [v.correct for v in MathVerify().grade("0.5", [r"so \boxed{\frac12}", r"\boxed{0.6}", "0.5"])]
    [True, False, False]
    """

    def __init__(self, pool: Pool | None = None):
        self.pool = pool
        self.version = (
            f"math_verify {version('math-verify')}, antlr {version('antlr4-python3-runtime')}"
        )

    def grade(self, gold: str, texts: Sequence[str]) -> list[Verdict]:
        verdicts: list[Verdict | None] = [None] * len(texts)
        slow: list[int] = []
        answers = [given_answer(t) for t in texts]
        for i, answer in enumerate(answers):
            if not answer:
                verdicts[i] = Verdict(False, "no_answer")
            elif (short := short_cut(gold, answer)) is not None:
                verdicts[i] = Verdict(short, "ok", answer)
            else:
                slow.append(i)
        distinct = list(
            dict.fromkeys(answers[i] for i in slow)
        )  # samples of one question often agree
        replies = (
            dict(
                zip(
                    distinct,
                    (self.pool or shared_pool()).compare([(gold, a) for a in distinct]),
                    strict=True,
                )
            )
            if distinct
            else {}
        )
        for i in slow:
            reply = replies[answers[i]]
            verdicts[i] = Verdict(reply["correct"], reply["status"], answers[i])
        return verdicts  # type: ignore[return-value]

    def gold_error(self, gold: str) -> str | None:
        if not any(c.isalnum() for c in gold):
            return "the answer is empty"
        box = "\\boxed{" + gold + "}"
        if closing_brace(box, len("\\boxed")) != len(box) - 1:
            return "the answer's braces do not balance"
        if number(gold) is not None:
            return None
        (reply,) = (self.pool or shared_pool()).compare([(gold, "", READABLE)])
        return (
            None if reply["correct"] else f"math-verify cannot read the answer ({reply['status']})"
        )


def short_cut(gold: str, answer: str) -> bool | None:
    """True or False where spelling or exact arithmetic decides, None where algebra has to.

    >>> short_cut("734", "735"), short_cut("1/3", "0.333333"), short_cut("x+1", "1+x")
    (False, None, None)
    """
    if spelled(gold) == spelled(answer):
        return True
    a, b = number(gold), number(answer)
    if a is None or b is None:
        return None
    if a == b:
        return True
    both_integers = a.denominator == b.denominator == 1
    return False if both_integers or abs(a - b) > CLOSE * max(1, abs(a)) else None
