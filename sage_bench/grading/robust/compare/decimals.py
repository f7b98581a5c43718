"""When a decimal stands for an exact number, or an exact number for a decimal."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import mpmath

from sage_bench.grading.robust.compare.same import same
from sage_bench.grading.robust.read.exact import Literal, exact, literal
from sage_bench.grading.robust.read.nodes import Node, symbols
from sage_bench.grading.robust.read.numeric import CLOSE, Undefined, evaluate

# figures a decimal answer to an exact gold must show: where the gold has no finite decimal, has one
EXACT_FIGURES, FINITE_FIGURES = 4, 6
# more figures than this are a machine's: the last ones are noise
MACHINE_FIGURES = 12
MACHINE_NOISE = mpmath.mpf(10) ** -10
# a decimal gold with at least so many figures is a rounded number; with fewer it is as likely exact
MEASURED_FIGURES = 3
# a whole number stands for a decimal gold only where the gold has so many figures; with fewer it is
# as likely exact
LONG_FIGURES = 5


def same_number(gold: Node, answer: Node) -> bool | None:
    r"""As `same`, and a decimal may stand for an exact number, or an exact number for a decimal.

    There is no tolerance: all figures that are shown must be right. An exact gold that has no
    finite decimal takes its correct rounding to `EXACT_FIGURES` figures or more. A decimal gold of
    `MEASURED_FIGURES` figures or more takes what rounds to it, and its own correct rounding to
    `EXACT_FIGURES` figures or more (to a whole number where the gold has `LONG_FIGURES`). Decimals
    with the same number of places contradict each other. A decimal of more places needs a gold of
    `EXACT_FIGURES` or one times a power of ten, because 12.5 is as likely exact, and then 12.51 is
    wrong. Whole numbers are exact.

    >>> from sage_bench.grading.robust.read.parser import parse_text
    >>> def check(gold, *answers):
    ...     return [same_number(parse_text(gold), parse_text(answer)) for answer in answers]
    >>> check(r"\frac{600}{7}", "85.71", "85.72"), check(r"\frac{1}{3}", "0.33")
    ([True, False], [False])
    >>> check("12.55", r"\frac{640}{51}", "12.56"), check("299.94", "300"), check("1469", "1468")
    ([True, False], [True], [False])
    >>> check("12.5", "12.51"), check("125.66", "125.664"), check("165.47", "165.5", "165.4")
    ([False], [True], [True, False])
    >>> check("671.02", "671.018", "671.0", "671.03", "671.1", "670")
    [True, True, False, False, False]
    >>> check("0.35625", "0.356"), check("326.5", "327"), check(r"\frac{567}{4}", "141.8")
    ([False], [False], [False])
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
    written, shown = literal(gold), literal(answer)
    if shown is not None and shown.figures > MACHINE_FIGURES and not shown.is_whole:
        if abs(g - a) <= abs(g) * MACHINE_NOISE:
            return True
    if written is None:
        return shown is not None and _is_rounding(gold, g, shown)
    return not written.is_whole and _is_measured(written, g, answer, a, shown)


def _is_rounding(gold: Node, g: Any, shown: Literal) -> bool:
    """Is the decimal a correct rounding of an exact gold, to enough figures?"""
    if shown.is_whole:
        return False
    needed = FINITE_FIGURES if _is_finite(gold) else EXACT_FIGURES
    return shown.figures >= needed and _rounds_to(g, shown)


def _is_measured(written: Literal, g: Any, answer: Node, a: Any, shown: Literal | None) -> bool:
    """Is the answer the number that a decimal gold was rounded from, or another rounding of it?

    shown: how the answer is written, None where it is not a decimal.
    """
    if shown is not None and shown.unit_in_last_place == written.unit_in_last_place:
        return False
    if written.figures < MEASURED_FIGURES:
        irrational = shown is None and not _is_finite(answer)
        return irrational and written.figures == MEASURED_FIGURES - 1 and _rounds_to(a, written)
    finer = shown is None or shown.unit_in_last_place < written.unit_in_last_place
    if shown is None:
        return _rounds_to(a, written)
    if finer:
        if written.figures < EXACT_FIGURES and not written.is_scaled:
            return False
        return _rounds_to(a, written)
    enough = written.figures >= LONG_FIGURES if shown.is_whole else shown.figures >= EXACT_FIGURES
    return enough and _rounds_to(g, shown)


def _rounds_to(value: Any, shown: Literal) -> bool:
    """Is the decimal shown the value, rounded half up or half even?"""
    half = _mpf(shown.unit_in_last_place) / 2
    return bool(abs(value - _mpf(shown.value)) <= half * (1 + CLOSE))


def _is_finite(node: Node) -> bool:
    """Does it have a decimal that ends?"""
    value = exact(node)
    if value is None:
        return False
    n = value.denominator
    for p in (2, 5):
        while n % p == 0:
            n //= p
    return n == 1


def _mpf(v: Fraction) -> Any:
    return mpmath.mpf(v.numerator) / v.denominator
