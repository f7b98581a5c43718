"""Exact rational values of trees, and what kind of number a tree is written as."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

from sage_bench.grading.robust.read.nodes import Kind, Node

BITS = 20_000  # integers longer than this are not worth exact arithmetic
_NOT_RATIONAL = frozenset(
    {
        Kind.SYM,
        Kind.CONST,
        Kind.APP,
        Kind.PM,
        Kind.MP,
        Kind.DOTS,
        Kind.DEG,
        Kind.FN,
        Kind.LOG,
    }
)


class Literal(NamedTuple):
    """A number written as a decimal or a whole number, perhaps times a power of ten.

    unit_in_last_place: the worth of its last digit; figures: how many significant ones it shows.
    """

    value: Fraction
    unit_in_last_place: Fraction
    figures: int
    is_whole: bool
    is_scaled: bool = False


def exact(node: Node) -> Fraction | None:
    """The rational value, or None where there is none or it would be too long to write.

    >>> from sage_bench.grading.robust.read.nodes import PI, number
    >>> exact(Node(Kind.DIV, (number(1), number(3)))), exact(PI)
    (Fraction(1, 3), None)
    """
    kind, args = node
    if kind is Kind.NUM:
        value: Fraction = args[0]
        return value
    if kind is Kind.BASED:
        return Fraction(int(args[0], args[1])) if args[1] <= 36 else None
    if kind in _NOT_RATIONAL:
        return None
    values: list[Fraction] = []
    for a in args:
        v = exact(a) if isinstance(a, Node) else a
        if v is None or _bits(v) > BITS:
            return None
        values.append(v)
    return _EXACT[kind](*values) if kind in _EXACT else None


def literal(node: Node) -> Literal | None:
    r"""How a number is written, if it is a decimal or a whole number, possibly signed or times a
    power of ten.

    >>> from sage_bench.grading.robust.read.parser import parse_text
    >>> literal(parse_text("1.50"))[1:4], literal(parse_text("1,500"))[1:4]
    ((Fraction(1, 100), 3, False), (Fraction(1, 1), 4, True))
    """
    kind, args = node
    if kind is Kind.NUM:
        value, places = args
        if value.denominator != 1 and places is None:
            return None
        step = Fraction(1, 10 ** (places or 0))
        digits = str(abs(value.numerator * step.denominator // value.denominator)).lstrip("0")
        return Literal(value, step, len(digits) or 1, not places)
    if kind is Kind.NEG and (inner := literal(args[0])):
        return inner._replace(value=-inner.value)
    if kind is Kind.MUL and len(args) == 2:
        inner, scale = literal(args[0]), _power_of_ten(args[1])
        if inner and scale:
            step = inner.unit_in_last_place * scale
            return Literal(inner.value * scale, step, inner.figures, False, True)
    return None


def _power_of_ten(node: Node) -> Fraction | None:
    if node.kind is not Kind.POW or exact(node.args[0]) != 10:
        return None
    n = exact(node.args[1])
    if n is None or n.denominator != 1 or abs(n) >= 400:
        return None
    return Fraction(10) ** n.numerator


def _bits(v: Fraction) -> int:
    return max(v.numerator.bit_length(), v.denominator.bit_length())


def _power(a: Fraction, b: Fraction) -> Fraction | None:
    if b.denominator != 1:
        root = _whole_root(a, b.denominator) if a >= 0 else None
        return None if root is None else _power(root, Fraction(b.numerator))
    n = b.numerator
    if (a == 0 and n < 0) or abs(n) * max(_bits(a), 1) > BITS:
        return None if a == 0 or abs(a) != 1 else a ** (n % 2)
    return a**n


def _whole_root(a: Fraction, n: int) -> Fraction | None:
    """The exact n-th root of a >= 0, if it has one."""
    parts = []
    for x in (a.numerator, a.denominator):
        if n > 60 or x.bit_length() > 2000:
            return None
        r = _integer_root(x, n)
        if r**n != x:
            return None
        parts.append(r)
    return Fraction(parts[0], parts[1])


def _integer_root(x: int, n: int) -> int:
    low, high = 0, 1 << (x.bit_length() // n + 1)
    while low < high:
        middle = (low + high + 1) // 2
        if middle**n <= x:
            low = middle
        else:
            high = middle - 1
    return low


def _root(n: Fraction, x: Fraction) -> Fraction | None:
    if n.denominator != 1 or n < 1:
        return None
    if x < 0:
        value = _root(n, -x) if n % 2 else None
        return -value if value is not None else None
    return _whole_root(x, n.numerator)


def _factorial(a: Fraction) -> Fraction | None:
    is_small = a.denominator == 1 and 0 <= a <= 1000
    return Fraction(math.factorial(a.numerator)) if is_small else None


def _binomial(n: Fraction, k: Fraction) -> Fraction | None:
    is_small = n.denominator == k.denominator == 1 and 0 <= n <= 5000 and k >= 0
    return Fraction(math.comb(n.numerator, k.numerator)) if is_small else None


def _product(*values: Fraction) -> Fraction:
    out = Fraction(1)
    for v in values:
        out *= v
    return out


_EXACT: dict[Kind, Callable[..., Fraction | None]] = {
    Kind.ADD: lambda *v: sum(v, Fraction(0)),
    Kind.MUL: _product,
    Kind.DIV: lambda a, b: a / b if b else None,
    Kind.NEG: lambda a: -a,
    Kind.POW: _power,
    Kind.ROOT: _root,
    Kind.ABS: abs,
    Kind.FACT: _factorial,
    Kind.FLOOR: lambda a: Fraction(math.floor(a)),
    Kind.CEIL: lambda a: Fraction(math.ceil(a)),
    Kind.BINOM: _binomial,
    Kind.PCT: lambda a: a / 100,
}
