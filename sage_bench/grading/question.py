"""Grade the answers to one question: the place that decides what a grader is told beside the
gold."""

from __future__ import annotations

from collections.abc import Sequence

from sage_bench.grading import cache
from sage_bench.grading.verdict import Grader, Verdict


def grader_for(grader: str, options: Sequence[str] | None) -> Grader:
    """The grader, told the options of the question where it wants to know them."""
    return cache.grader(grader, options or None)


def grade_question(
    gold: str,
    texts: Sequence[str],
    grader: str = cache.DEFAULT,
    options: Sequence[str] | None = None,
) -> list[Verdict]:
    """One verdict a text.

    options: the texts of a multiple-choice question in the order asked; gold is then a letter.

    >>> [v.correct for v in grade_question("7", ["\\\\boxed{7}", "\\\\boxed{8}", "7"])]
    [True, False, False]
    """
    return cache.grade(gold, texts, grader, options or None)


def self_test(
    gold: str, grader: str = cache.DEFAULT, options: Sequence[str] | None = None
) -> tuple[bool, str | None]:
    r"""(does an answer that boxes the gold itself count?, why the gold cannot be used or None).

    A gold that counts and still cannot be used is compared by its spelling alone.

    >>> self_test(r"\frac{1}{2}"), self_test(r"\frac{1}{2")
    ((True, None), (False, "the answer's braces do not balance"))
    """
    (verdict,) = grade_question(gold, ["\\boxed{" + gold + "}"], grader, options)
    return verdict.correct, grader_for(grader, options).gold_error(gold)
