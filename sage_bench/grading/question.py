"""Grade the answers to one question: the one place where what a grader is told beside the gold is decided."""

from __future__ import annotations

from collections.abc import Sequence

from sage_bench.grading import memo
from sage_bench.grading.verdict import Verdict


def grade_question(gold: str, texts: Sequence[str], grader: str = memo.DEFAULT, options: Sequence[str] | None = None) -> list[Verdict]:
    """One verdict a text. options: the texts of a multiple-choice question in the order asked, gold then being a letter.

    Graders of multiple choice (those with `takes_options`) are also called with `options`; the others compare with the gold alone.

    >>> [v.correct for v in grade_question("7", ["\\\\boxed{7}", "\\\\boxed{8}", "7"])]
    [True, False, False]
    """
    one = memo.grader(grader)
    if options and getattr(one, "takes_options", False):
        return one.grade(gold, texts, options=options)  # type: ignore[call-arg]
    return memo.grade(gold, texts, grader)
