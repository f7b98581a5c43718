"""The strictest grader: the same spelling in the last box."""

from __future__ import annotations

from collections.abc import Sequence

from sage_bench.grading.exact import spelled
from sage_bench.grading.extract import given_answer
from sage_bench.grading.registry import register_grader
from sage_bench.grading.verdict import Verdict


@register_grader("string")
class String:
    r"""Last box, equal up to typesetting (spaces, `$`, `\left`, `\dfrac`, a final full stop).

    No arithmetic: `0.5` is not `1/2`.

    >>> texts = [r"\boxed{\dfrac{1}{2}}", r"\boxed{0.5}", r"\frac12"]
    >>> [v.correct for v in String().grade(r"\frac12", texts)]
    [True, False, False]
    """

    version = "string 1"

    def grade(self, gold: str, texts: Sequence[str]) -> list[Verdict]:
        wanted = spelled(gold)
        answers = [given_answer(t) for t in texts]
        return [
            Verdict(spelled(a) == wanted, "ok", a) if a else Verdict(False, "no_answer")
            for a in answers
        ]

    def gold_error(self, gold: str) -> str | None:
        return None if spelled(gold) else "the answer is empty"
