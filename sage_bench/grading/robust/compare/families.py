"""Solutions that repeat: `π/6 + kπ` for every whole k.

Equal when they hit the same numbers, whatever the letter and the start.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import mpmath

from sage_bench.grading.robust.read.nodes import PI, Kind, Node, symbols, walk
from sage_bench.grading.robust.read.numeric import CLOSE, Undefined, evaluate

# letters that stand for any whole number beside a multiple of π or a degree
LETTERS = {"k", "n", "m", "l", "j", "t"}
MOST = 400  # residues
LARGEST_DENOMINATOR = 120  # of one period as a part of another
RESOLUTION = 10**15  # steps a common period is cut into


class Family(NamedTuple):
    """start + k * period for every whole k."""

    start: Any
    period: Any


def family(node: Node, integers: frozenset[str]) -> Family | None:
    r"""An expression that is linear in one letter for whole numbers, or None.

    >>> from sage_bench.grading.robust.read.parser import parse_text
    >>> family(parse_text(r"\frac{\pi}{6} + k\pi"), frozenset()).period == mpmath.pi
    True
    >>> family(parse_text("n+1"), frozenset())
    """
    names = symbols(node)
    if len(names) != 1:
        return None
    (name,) = names
    if name not in integers:
        periodic = any(n == PI or n.kind is Kind.DEG for n in walk(node))
        if name not in LETTERS or not (periodic or integers):
            return None
    tried = (0, 1, 2, 5)
    try:
        start, one, *others = [evaluate(node, {name: mpmath.mpf(x)}) for x in tried]
    except Undefined:
        return None
    period = one - start
    if abs(period) <= CLOSE or isinstance(period, mpmath.mpc):
        return None
    for x, y in zip(tried[2:], others, strict=True):
        if abs(start + x * period - y) > CLOSE * (1 + abs(y)):
            return None
    return Family(start, period)


def same_families(a: Sequence[Family], b: Sequence[Family]) -> bool:
    """Do two lists of families hit the same numbers?

    >>> p = mpmath.pi
    >>> halves = [Family(p / 2, 2 * p), Family(-p / 2, 2 * p)]
    >>> same_families([Family(p / 2, p)], halves), same_families([Family(p / 2, p)], halves[:1])
    (True, False)
    """
    base = abs(a[0].period)
    shares = []
    for one in (*a, *b):
        ratio = abs(one.period) / base
        share = Fraction(str(mpmath.nstr(ratio, 20))).limit_denominator(LARGEST_DENOMINATOR)
        off = abs(ratio - mpmath.mpf(share.numerator) / share.denominator)
        if off > CLOSE * 10**6 or share == 0:
            return False  # periods without a common multiple
        shares.append(share)
    common = Fraction(1)
    for s in shares:
        top = math.lcm(common.numerator * s.denominator, s.numerator * common.denominator)
        common = Fraction(top, common.denominator * s.denominator)
    if any(common / s > MOST for s in shares):
        return False
    whole = base * common.numerator / common.denominator
    counts = [int(common / s) for s in shares]
    return _residues(a, counts[: len(a)], whole) == _residues(b, counts[len(a) :], whole)


def _residues(families: Sequence[Family], counts: Sequence[int], whole: Any) -> set[int]:
    """The numbers modulo the common period, in steps of it; counts: of each within that period."""
    out = set()
    for one, count in zip(families, counts, strict=True):
        for j in range(count):
            turns = (one.start + j * one.period) / whole
            part = turns - mpmath.floor(turns)
            out.add(int(mpmath.nint(part * RESOLUTION)) % RESOLUTION)
    return out
