"""When two expressions are the same: exactly, or at every value tried."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath

from sage_bench.grading.robust.read.exact import exact
from sage_bench.grading.robust.read.nodes import (
    ANY_BASE,
    E,
    Kind,
    Node,
    renaming,
    substitute,
    symbols,
    walk,
)
from sage_bench.grading.robust.read.numeric import (
    CLOSE,
    DIGITS,
    Undefined,
    evaluate,
    is_for_integers,
    points,
)

TRIALS = 24  # values tried
ENOUGH = 6  # values at which both sides must exist and agree
FEW = 2  # of them that will do where most values are outside the domain
TINY = mpmath.mpf(10) ** -12  # below this a value may be nothing but rounding errors


def same(gold: Node, answer: Node) -> bool | None:
    r"""Equal as expressions. None when neither could be evaluated.

    >>> from sage_bench.grading.robust.read.parser import parse_text
    >>> def check(gold, answer): return same(parse_text(gold), parse_text(answer))
    >>> check(r"\tan^2 y + 1", r"\sec^2 y"), check("x^2", "x^3")
    (True, False)
    >>> check("2Cx", "2cx"), check("a+b", "b+c")
    (True, False)
    """
    if gold == answer:
        return True
    based, other = (gold, answer) if gold.kind is Kind.BASED else (answer, gold)
    if based.kind is Kind.BASED and other.kind is Kind.NUM and other.args[1] is None:
        return str(other.args[0]) == str(based.args[0])  # a base left out is not missed
    a, b = exact(gold), exact(answer)
    if a is not None and b is not None:
        # the same number in another base is another answer
        return a == b and not (gold.kind is answer.kind is Kind.BASED)
    answer = _same_case(gold, answer)
    names = sorted(symbols(gold) | symbols(answer))
    if not names:
        return _same_at(gold, answer, {})
    tried = points(names, is_for_integers(gold) or is_for_integers(answer), TRIALS)
    # real formulas mean their real domain; only what has none is compared in the complex plane
    for real in (True, False):
        agreed = 0
        for at in tried:
            verdict = _same_at(gold, answer, at, real)
            if verdict is False:
                return False
            agreed += verdict is True
            if agreed >= ENOUGH:
                return True
        if agreed >= FEW:
            return True
    return None


def _same_case(gold: Node, answer: Node) -> Node:
    """The answer with its symbols in the gold's case (`c` and `C`).

    Only where a letter comes in one case on either side.
    """
    ours = symbols(gold) - symbols(answer)
    theirs = symbols(answer) - symbols(gold)
    shared = {n.casefold() for n in symbols(gold) & symbols(answer)}
    by_low = {n.casefold(): n for n in ours}
    free = by_low.keys() - shared
    names = {n: by_low[n.casefold()] for n in theirs if n.casefold() in free}
    distinct = len(by_low) == len(ours) and len({n.casefold() for n in theirs}) == len(theirs)
    return substitute(answer, renaming(names)) if names and distinct else answer


def _same_at(gold: Node, answer: Node, at: dict[str, Any], real: bool = False) -> bool | None:
    r"""Do the values agree here? None where either has no value.

    A `\log` without a base is natural or decimal; beside a `\ln` only what holds for both is taken.
    """
    nodes = [n for side in (gold, answer) for n in walk(side)]
    natural = any(n.kind is Kind.LOG and n.args[0] == E for n in nodes)
    bases = (mpmath.e, mpmath.mpf(10)) if ANY_BASE in nodes else (None,)
    verdicts = []
    for base in bases:
        try:
            a, b = evaluate(gold, at, base, real), evaluate(answer, at, base, real)
            if max(abs(a), abs(b)) >= TINY:
                verdicts.append(bool(abs(a - b) <= CLOSE * max(abs(a), abs(b))))
            else:
                verdicts.append(_same_and_tiny((gold, a), (answer, b), _evaluator(at, base, real)))
        except Undefined:
            continue
    if not verdicts:
        return None
    return all(verdicts) if natural else any(verdicts)


def _evaluator(at: dict[str, Any], base: Any, real: bool) -> Callable[[Node], Any]:
    return lambda node: evaluate(node, at, base, real)


def _same_and_tiny(
    one: tuple[Node, Any], two: tuple[Node, Any], value: Callable[[Node], Any]
) -> bool:
    """Of two values near zero: are both zero, or the same tiny number?

    What more digits leave as it is is a number, what they change is a zero with rounding errors.
    """
    with mpmath.workdps(2 * DIGITS):
        finer = [value(node) for node, _ in (one, two)]
        shown = [x for _, x in (one, two)]
        pairs = zip(shown, finer, strict=True)
        zero = [bool(y == 0 or abs(x - y) > abs(y) / 10**9) for x, y in pairs]
        if any(zero):
            return all(zero)
        return bool(abs(finer[0] - finer[1]) <= CLOSE * abs(finer[0]))
