"""When two expressions are the same, and when a decimal stands for an exact number."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath

from sage_bench.grading.robust.read.nodes import (
    Literal,
    Node,
    exact,
    literal,
    rename,
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

TRIALS, ENOUGH = 24, 6  # values tried; values at which both sides must exist and agree
EXACT_FIGURES, FINITE_FIGURES = (
    4,
    6,
)  # figures a decimal answer to an exact gold must show: the gold has no finite decimal, has one
TINY = mpmath.mpf(10) ** -12  # below this a value may be nothing but rounding errors
MACHINE_FIGURES = 12  # more figures than this are a machine's: the last ones are noise
MEASURED_FIGURES = 3  # a decimal gold with at least so many is a rounded number ...
MEASURED = Fraction(
    1, 500
)  # ... and known to about three figures: another number this near (relatively) is the same one
# a whole number stands for a decimal gold only where the gold has so many figures; with fewer it is
# as likely exact
LONG_FIGURES = 5


def same(gold: Node, answer: Node) -> bool | None:
    r"""Equal as expressions: exactly, or at every value tried. None when neither could be
    evaluated.

    >>> from sage_bench.grading.robust.read.parser import parse_text
    >>> same(parse_text(r"\tan^2 y + 1"), parse_text(r"\sec^2 y")), same(parse_text("x^2"), parse_text("x^3"))
    (True, False)
    >>> same(parse_text("2Cx"), parse_text("2cx")), same(parse_text("a+b"), parse_text("b+c"))
    (True, False)
    """
    if gold == answer:
        return True
    based, other = (gold, answer) if gold.op == "based" else (answer, gold)
    if based.op == "based" and other.op == "num" and other.args[1] is None:
        return str(other.args[0]) == based.args[0]  # a base left out is not missed
    a, b = exact(gold), exact(answer)
    if a is not None and b is not None:
        return a == b and (gold.op, answer.op) != (
            "based",
            "based",
        )  # the same number in another base is another answer
    answer = _same_case(gold, answer)
    names = sorted(symbols(gold) | symbols(answer))
    if not names:
        return _same_at(gold, answer, {})
    whole = is_for_integers(gold) or is_for_integers(answer)
    for real in (
        True,
        False,
    ):  # real formulas mean their real domain; only what has none is compared in the complex plane
        agreed = 0
        for at in points(names, whole, TRIALS):
            verdict = _same_at(gold, answer, at, real)
            if verdict is False:
                return False
            agreed += verdict is True
            if agreed >= ENOUGH:
                return True
        if agreed >= 2:
            return True
    return None


def _same_case(gold: Node, answer: Node) -> Node:
    """The answer with its symbols in the gold's case, where a letter comes in one case only on
    either side (`C` and `c`)."""
    theirs, ours = symbols(gold) - symbols(answer), symbols(answer) - symbols(gold)
    low = {n.casefold(): n for n in theirs}
    both = {n.casefold() for n in symbols(gold) & symbols(answer)}
    names = {n: low[n.casefold()] for n in ours if n.casefold() in low and n.casefold() not in both}
    return (
        rename(answer, names)
        if names and len(low) == len(theirs) and len({n.casefold() for n in ours}) == len(ours)
        else answer
    )


def _same_at(gold: Node, answer: Node, at: dict[str, Any], real: bool = False) -> bool | None:
    """Do the values agree here? None where either has no value.

    A `\\log` without a base is natural or decimal; beside a `\\ln` only what holds for both is
    taken.
    """
    nodes = [n for side in (gold, answer) for n in walk(side)]
    bare = Node("const", ("log",)) in nodes
    ln = any(n.op == "log" and n.args[0] == Node("const", ("e",)) for n in nodes)
    verdicts = []
    for base in (mpmath.e, mpmath.mpf(10)) if bare else (None,):
        try:
            a, b = evaluate(gold, at, base, real), evaluate(answer, at, base, real)
        except Undefined:
            continue
        if max(abs(a), abs(b)) >= TINY:
            verdicts.append(bool(abs(a - b) <= CLOSE * max(abs(a), abs(b))))
        else:
            verdicts.append(
                _same_and_tiny(
                    (gold, a), (answer, b), lambda node, base=base: evaluate(node, at, base, real)
                )
            )
    return (all(verdicts) if ln else any(verdicts)) if verdicts else None


def _same_and_tiny(
    one: tuple[Node, Any], two: tuple[Node, Any], value: Callable[[Node], Any]
) -> bool:
    """Of two values near zero: what more digits leave as it is is a number, what they change is a
    zero with rounding errors."""
    with mpmath.workdps(2 * DIGITS):
        finer = [value(node) for node, _ in (one, two)]
        zero = [
            bool(abs(x - y) > abs(y) / 10**9 or y == 0)
            for (_, x), y in zip((one, two), finer, strict=True)
        ]
        return all(zero) or (
            not any(zero) and bool(abs(finer[0] - finer[1]) <= CLOSE * abs(finer[0]))
        )


def same_number(gold: Node, answer: Node) -> bool | None:
    r"""As `same`, and a decimal may stand for an exact number, or an exact number for a decimal.

    An exact gold that has no finite decimal takes its correct rounding to `EXACT_FIGURES` figures
    or more. A decimal gold of `MEASURED_FIGURES` figures or more takes what rounds to it, and what
    is nearer than `MEASURED`, unless both are
    decimals with the same number of places: those contradict each other; a decimal of more places
    needs a gold of `EXACT_FIGURES` or one times a power of ten, because 12.5 is as likely exact,
    and then 12.51 is wrong. An answer shorter than the gold must still show `EXACT_FIGURES` (a
    whole number: the gold `LONG_FIGURES`). Whole numbers are exact.

    >>> from sage_bench.grading.robust.read.parser import parse_text
    >>> def check(gold, answer): return same_number(parse_text(gold), parse_text(answer))
    >>> check(r"\frac{600}{7}", "85.71"), check(r"\frac{600}{7}", "85.72"), check(r"\frac{1}{3}", "0.33"), check(r"\frac{567}{4}", "141.8")
    (True, False, False, False)
    >>> check("12.55", r"\frac{640}{51}"), check("12.55", "12.56"), check("299.94", "300"), check("1469", "1468"), check("5040", r"\frac{15840}{\pi}")
    (True, False, True, False, False)
    >>> check("12.5", "12.51"), check("125.66", "125.664"), check(r"3.83 \times 10^{35}", r"3.828 \times 10^{35}")
    (False, True, True)
    >>> check("165.47", "165.5"), check("0.35625", "0.356"), check("326.5", "327")
    (True, False, False)
    """
    verdict = same(gold, answer)
    if verdict is not False or symbols(gold) or symbols(answer):
        return verdict
    try:
        g, a = evaluate(gold, {}), evaluate(answer, {})
    except Undefined:
        return verdict
    if isinstance(g, mpmath.mpc) or isinstance(a, mpmath.mpc):
        return False
    written, said = literal(gold), literal(answer)
    if (
        said is not None
        and said.figures > MACHINE_FIGURES
        and not said.is_whole
        and abs(g - a) <= abs(g) * mpmath.mpf(10) ** -10
    ):
        return True
    if written is None or written.is_whole:
        if written is not None or said is None or said.is_whole:
            return False
        return said.figures >= (
            FINITE_FIGURES if _is_finite(gold) else EXACT_FIGURES
        ) and _rounds_to(g, said)
    if said is not None and said.unit_in_last_place == written.unit_in_last_place:
        return False
    if written.figures < MEASURED_FIGURES:
        return (
            said is None
            and written.figures == MEASURED_FIGURES - 1
            and not _is_finite(answer)
            and _rounds_to(a, written)
        )
    finer = said is None or said.unit_in_last_place < written.unit_in_last_place
    if said is not None and finer and written.figures < EXACT_FIGURES and not written.is_scaled:
        return False
    if (
        said is not None
        and not finer
        and (written.figures < LONG_FIGURES if said.is_whole else said.figures < EXACT_FIGURES)
    ):
        return False
    nearest = (
        _mpf(written.unit_in_last_place)
        if said is None and exact(answer) is not None
        else _mpf(MEASURED) * abs(g)
    )  # a fraction was not rounded on the way
    return bool(
        (finer and _rounds_to(a, written)) or abs(g - a) <= min(nearest, _mpf(MEASURED) * abs(g))
    )


def _rounds_to(value: Any, shown: Literal) -> bool:
    """Is the decimal shown the value, rounded half up or half even?"""
    return bool(abs(value - _mpf(shown.value)) <= _mpf(shown.unit_in_last_place) / 2 * (1 + CLOSE))


def _is_finite(node: Node) -> bool:
    return (v := exact(node)) is not None and _is_finite_decimal(v)


def _is_finite_decimal(v: Fraction) -> bool:
    n = v.denominator
    for p in (2, 5):
        while n % p == 0:
            n //= p
    return n == 1


def _mpf(v: Fraction) -> Any:
    return mpmath.mpf(v.numerator) / v.denominator
