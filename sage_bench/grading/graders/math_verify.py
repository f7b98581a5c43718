"""math-verify, with care: last box, then equal spelling, equal number, math-verify."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from importlib.metadata import version

from sage_bench.grading.exact import number, spelled
from sage_bench.grading.extract import given_answer
from sage_bench.grading.golds import written_error
from sage_bench.grading.pool import READABLE, Pool, shared_pool
from sage_bench.grading.registry import register_grader
from sage_bench.grading.verdict import Verdict

# decimals nearer than this may be equal up to rounding: math-verify decides, not we
CLOSE = Fraction(1, 10_000)


@register_grader("math_verify")
class MathVerify:
    r"""SAGE's training verifier, with exact short cuts before it and killable processes around it.

    Source: docs/design/sage.md 4.1.

    >>> texts = [r"so \boxed{\frac12}", r"\boxed{0.6}", "0.5"]
    >>> [v.correct for v in MathVerify().grade("0.5", texts)]
    [True, False, False]
    """

    def __init__(self, pool: Pool | None = None):
        self.pool = pool
        antlr = version("antlr4-python3-runtime")
        self.version = f"math_verify {version('math-verify')}, antlr {antlr}"

    def grade(self, gold: str, texts: Sequence[str]) -> list[Verdict]:
        answers = [given_answer(t) or None for t in texts]
        short = {a: short_cut(gold, a) for a in answers if a is not None}
        slow = [(gold, a) for a, verdict in short.items() if verdict is None]
        replies = (self.pool or shared_pool()).distinct(slow)
        verdicts = []
        for a in answers:
            if a is None:
                verdicts.append(Verdict(False, "no_answer"))
            elif (decided := short[a]) is not None:
                verdicts.append(Verdict(decided, "ok", a))
            else:
                reply = replies[gold, a]
                verdicts.append(Verdict(reply["correct"], reply["status"], a))
        return verdicts

    def gold_error(self, gold: str) -> str | None:
        if (error := written_error(gold)) is not None:
            return error
        if number(gold) is not None:
            return None
        (reply,) = (self.pool or shared_pool()).compare([(gold, "", READABLE)])
        if reply["correct"]:
            return None
        return f"math-verify cannot read the answer ({reply['status']})"


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
    size = max(Fraction(1), abs(a))
    return False if both_integers or abs(a - b) > CLOSE * size else None
