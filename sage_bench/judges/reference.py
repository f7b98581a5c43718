"""A judge without a model: stated arithmetic, the reference solution, and the verifier on the final
answer."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache

from sage_bench.grading.verdict import Grader
from sage_bench.judges.arithmetic import OTHER_ARITHMETIC, equations
from sage_bench.judges.base import Judge, Judging
from sage_bench.judges.expression import tokenize
from sage_bench.judges.registry import register_judge
from sage_bench.methods.base import Context
from sage_bench.types import Problem

_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_HASHES = re.compile(r"####\s*(\S[^\n]*)")
_LABEL = re.compile(
    r"(?im)^\s*(?:[#*]+\s*)?(?:(?:step|case|part|method)\s*)?\(?\d{1,3}[.):](?!\d)|\b(?:step|case|part|equation|eq\.?|method)\s+\(?\d+\)?|\\tag\{\d+\}"
)
COMMON = frozenset(map(Fraction, (0, 1, 2, 100)))  # numbers that say nothing about the route


@register_judge("reference")
class Reference(Judge):
    """Deterministic, needs no model: stated arithmetic, the numbers of the reference solution, the
    final answer.

    A step is wrong when
    - an equation it states is false and the reference does not state it, or has another result than
      the reference's equation with the same
      left side, or is none of the reference's where that has an arithmetic of its own (the tiny
      world counts modulo 10);
    - the final answer of the response is wrong, and this step is the first with a number that
      neither question nor reference solution knows;
    - it states the wrong final answer (boxed, or after `####`; the run's verifier decides).

    What it cannot see is right: algebra, geometry, reading. A response without a final answer and
    without a false equation has no wrong step.
    """

    def judge(
        self, ctx: Context, problem: Problem, responses: Sequence[Sequence[str]], votes: int
    ) -> Judging:
        known = Known.of(problem)
        wrong = wrong_answers(responses, problem.answer, ctx.grader)
        return [[first_wrong(steps, known, at)] for steps, at in zip(responses, wrong, strict=True)]
        yield  # a generator that asks for nothing


@dataclass(frozen=True, slots=True)
class Known:
    """What question and reference say. stated: results by left side; ordinary: its equations are
    those of ordinary arithmetic and nothing in the question hints at another; own: equations of
    another arithmetic, and nothing else; numbers: None without a solution.
    """

    stated: Mapping[str, frozenset[Fraction]] = field(default_factory=dict)
    ordinary: bool = True
    own: bool = False
    numbers: frozenset[Fraction] | None = None

    @classmethod
    def of(cls, problem: Problem) -> Known:
        return cls.said(problem.question, problem.solution or "")

    @classmethod
    @lru_cache(maxsize=1 << 12)
    def said(cls, question: str, solution: str) -> Known:
        stated: dict[str, set[Fraction]] = defaultdict(set)
        said = equations(solution)
        for e in said:
            stated[e.left].add(e.result)
        own = any(not e.holds for e in said) and not re.search(
            r"[^\W\d_]", re.sub(r"\\[a-z]+", "", solution)
        )
        return cls(
            {left: frozenset(results) for left, results in stated.items()},
            not OTHER_ARITHMETIC.search(question),
            own,
            numbers(question) | numbers(solution) | COMMON if solution else None,
        )


def first_wrong(
    steps: Sequence[str], known: Known, wrong_answer_at: int | None = None
) -> int | None:
    """The first wrong step (1-based), or None. wrong_answer_at: the step that states a wrong final
    answer.

    >>> tiny = Known.of(Problem("t", "3*9+6", "3*9=7 7+6=3 \\\\boxed{73}", "73"))
    >>> first_wrong(["3*9=7", "7+6=4"], tiny), first_wrong(["3*9=7", "7+5=2"], tiny)
    (2, 2)
    >>> first_wrong(["2+2=4", "4*3=13"], Known())
    2
    >>> solution = "16 - 3 = 13, 13 * 2 = 26"
    >>> eggs = Known.of(Problem("e", "16 eggs less 3, at 2 each?", solution, "26"))
    >>> first_wrong(["16 - 3 = 13 are left", "16 * 2 = 32", "so 32"], eggs, 3)
    2
    >>> first_wrong(["16 * 2 - 3 * 2 = 26"], eggs) is None
    True
    """
    for i, step in enumerate(steps, 1):
        for e in equations(step):
            if e.left in known.stated:
                if e.result not in known.stated[e.left] and not (e.holds and not known.own):
                    return i
            elif known.own or (known.ordinary and not e.holds):
                return i
        if (
            wrong_answer_at is not None
            and known.numbers is not None
            and not known.own
            and numbers(step) - known.numbers
        ):
            return i
        if i == wrong_answer_at:
            return i
    return None


@lru_cache(maxsize=1 << 14)
def numbers(text: str) -> frozenset[Fraction]:
    """Magnitudes a text mentions, labels like `Step 3:` left out.

    >>> sorted(map(str, numbers("Step 3: 1,200 - 4 * 2.5 = -7")))
    ['1200', '4', '5/2', '7']
    """
    return frozenset(
        Fraction(t.text.replace(",", ""))
        for t in tokenize(_LABEL.sub(" ", text))
        if t.kind == "num"
    )


def wrong_answers(
    responses: Sequence[Sequence[str]], gold: str, grader: Grader
) -> list[int | None]:
    """For each response the step (1-based) that states its final answer, where the verifier read it
    and found it wrong; else None."""
    places = [
        next(
            ((i, text) for i in range(len(steps), 0, -1) if (text := stated_answer(steps[i - 1]))),
            None,
        )
        for steps in responses
    ]
    asked = [p for p in places if p]
    verdicts = iter(grader.grade(gold, [text for _, text in asked]) if gold and asked else ())
    out: list[int | None] = []
    for place in places:
        verdict = next(verdicts, None) if place else None
        out.append(
            place[0]
            if place and verdict is not None and verdict.status == "ok" and not verdict.correct
            else None
        )
    return out


def stated_answer(step: str) -> str | None:
    r"""The step as text the verifier reads an answer from, or None where it states none.

    >>> stated_answer("#### 60"), stated_answer("so \\boxed{6}"), stated_answer("x = 6")
    ('\\boxed{60}', 'so \\boxed{6}', None)
    """
    if _BOX.search(step):
        return step
    hashes = _HASHES.search(step)
    return f"\\boxed{{{hashes[1].strip()}}}" if hashes else None
