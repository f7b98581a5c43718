r"""The comparison of the `robust` grader: as strict as a mathematician, tolerant of form.

An answer is brought to one spelling and cut into tokens (`text`), read as a list, a tuple, a set,
an interval, an equation, a quantity, a matrix or words (`read`), and compared with the gold's
reading (`compare`): rational numbers exactly, other expressions at many values to fifty digits.
What neither reading understands is left to math-verify. Runs in a worker process.
"""

from __future__ import annotations

from sage_bench.grading.robust.compare.choices import same_choice, same_judgement
from sage_bench.grading.robust.compare.fallback import by_math_verify
from sage_bench.grading.robust.compare.quantifiers import (
    claims_of_some,
    same_prefix,
    statement,
)
from sage_bench.grading.robust.compare.readings import is_unfinished, same_reading
from sage_bench.grading.robust.compare.wording import same_words
from sage_bench.grading.robust.read.forms import Clock
from sage_bench.grading.robust.read.nodes import Conditional, Unreadable
from sage_bench.grading.robust.read.readings import read
from sage_bench.grading.robust.text.clean import LONGEST, clean
from sage_bench.grading.robust.text.words import date
from sage_bench.grading.worker import Reply, is_gold

__all__ = ["equivalent", "readable"]

MOST_NESTED = 100  # brackets in brackets; nothing that is meant as an answer has so many


def equivalent(gold: str, answer: str) -> Reply:
    r"""Is the answer the gold in another form, and what decided ("by")?

    >>> equivalent(r"\frac{1}{2}", "0.5")["correct"], equivalent("(1,2)", "(2,1)")["correct"]
    (True, False)
    >>> equivalent("[0, 1)", r"0 \le x < 1")
    {'correct': True, 'status': 'ok', 'by': 'reading'}
    """
    if max(len(gold), len(answer)) > LONGEST or max(map(nesting, (gold, answer))) > MOST_NESTED:
        same = gold.strip() == answer.strip()
        return {"correct": same, "status": "ok" if same else "parse_error", "by": "spelling"}
    one, two = clean(gold), clean(answer)
    if one == two:
        return {"correct": bool(one), "status": "ok", "by": "spelling"}
    if same_choice(one, two) or same_judgement(one, two) or _same_date(one, two):
        return {"correct": True, "status": "ok", "by": "choice"}
    told, answered = statement(one), statement(two)
    if not same_prefix(told, answered) or claims_of_some(one) != claims_of_some(two):
        return {"correct": False, "status": "ok", "by": "quantifiers"}
    if told.prefix or answered.prefix:
        gold, answer = told.claim, answered.claim
    try:
        golds, answers = read(gold), read(answer)
    except Conditional:
        return {"correct": same_words(one, two), "status": "ok", "by": "words"}
    except RecursionError:
        return {"correct": False, "status": "parse_error", "by": "reading"}
    except Unreadable:
        return {**by_math_verify(gold, answer), "by": "math_verify"}
    if golds and isinstance(golds[0].form, Clock) and golds[0].form.certain:
        golds = golds[:1]
    pair = next(((g, a) for g in golds for a in answers if same_reading(g, a)), None)
    if pair and is_unfinished(pair[0].form, pair[1].form):
        return {**by_math_verify(gold, answer), "by": "math_verify"}
    return {"correct": pair is not None, "status": "ok", "by": "reading"}


def nesting(text: str) -> int:
    """How deep the brackets of a text are nested, whatever their kind.

    >>> nesting("((1) + [2{3}])"), nesting("((((")
    (3, 4)
    """
    deepest = depth = 0
    for c in text:
        if c in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif c in ")]}":
            depth = max(0, depth - 1)
    return deepest


def _same_date(gold: str, answer: str) -> bool:
    day = date(gold)
    return day is not None and day == date(answer)


def readable(gold: str, _: str = "") -> Reply:
    """Can the gold be read, by us or by math-verify?"""
    if len(gold) > LONGEST or nesting(gold) > MOST_NESTED:
        return {"correct": False, "status": "parse_error"}
    try:
        return {"correct": bool(read(gold)), "status": "ok"}
    except (Unreadable, RecursionError):
        return {"correct": is_gold(gold), "status": "ok"}
