"""Solutions that repeat: `π/6 + kπ` for every whole k. Equal when they hit the same numbers,
whatever the letter and the start."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import mpmath

from sage_bench.grading.robust.read.nodes import Node, symbols, walk
from sage_bench.grading.robust.read.numeric import CLOSE, Undefined, evaluate

LETTERS = {
    "k",
    "n",
    "m",
    "l",
    "j",
    "t",
}  # letters that stand for any whole number beside a multiple of π or a degree
MOST = 400  # residues


def family(node: Node, integers: frozenset[str]) -> tuple[Any, Any] | None:
    r"""(start, period) of an expression that is linear in one letter for whole numbers, or None.

    >>> from sage_bench.grading.robust.read.parser import parse_text
    >>> family(parse_text(r"\frac{\pi}{6} + k\pi"), frozenset())[1] == mpmath.pi, family(parse_text("n+1"), frozenset())
    (True, None)
    """
    names = symbols(node)
    if len(names) != 1:
        return None
    (name,) = names
    periodic = any(n == Node("const", ("pi",)) or n.op == "deg" for n in walk(node))
    if name not in integers and not ((periodic or integers) and name in LETTERS):
        return None
    try:
        v = [evaluate(node, {name: mpmath.mpf(x)}) for x in (0, 1, 2, 5)]
    except Undefined:
        return None
    start, period = v[0], v[1] - v[0]
    linear = abs(period) > CLOSE and all(
        abs(start + x * period - y) <= CLOSE * (1 + abs(y))
        for x, y in zip((2, 5), v[2:], strict=True)
    )
    return (start, period) if linear and not isinstance(period, mpmath.mpc) else None


def same_families(a: Sequence[tuple[Any, Any]], b: Sequence[tuple[Any, Any]]) -> bool:
    """Do two lists of families hit the same numbers?

    >>> p = mpmath.pi
    >>> same_families([(p / 2, p)], [(p / 2, 2 * p), (-p / 2, 2 * p)]), same_families([(p / 2, p)], [(p / 2, 2 * p)])
    (True, False)
    """
    base = abs(a[0][1])
    shares = []
    for _, period in (*a, *b):
        share = Fraction(str(mpmath.nstr(abs(period) / base, 20))).limit_denominator(120)
        if (
            abs(abs(period) / base - mpmath.mpf(share.numerator) / share.denominator)
            > CLOSE * 10**6
            or share == 0
        ):
            return False  # periods without a common multiple
        shares.append(share)
    common = Fraction(1)
    for s in shares:
        top = _lcm(common.numerator * s.denominator, s.numerator * common.denominator)
        common = Fraction(top, common.denominator * s.denominator)
    if any(common / s > MOST for s in shares):
        return False
    return _residues(a, shares[: len(a)], common, base) == _residues(
        b, shares[len(a) :], common, base
    )


def _residues(
    families: Sequence[tuple[Any, Any]], shares: Sequence[Fraction], common: Fraction, base: Any
) -> set[int]:
    """Numbers modulo the common period, in units of 1e-15 of it."""
    whole = base * common.numerator / common.denominator
    out = set()
    for (start, period), share in zip(families, shares, strict=True):
        for j in range(int(common / share)):
            out.add(
                int(
                    mpmath.nint(
                        ((start + j * period) / whole - mpmath.floor((start + j * period) / whole))
                        * 10**15
                    )
                )
                % 10**15
            )
    return out


def _lcm(a: int, b: int) -> int:
    import math

    return a * b // math.gcd(a, b)
