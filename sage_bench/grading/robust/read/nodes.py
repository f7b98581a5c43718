"""Expressions as trees, exact rational values, and what kind of number a tree is written as."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

BITS = 20_000  # integers longer than this are not worth exact arithmetic


class Unreadable(ValueError):
    """This text is no expression we can read."""


class Conditional(Unreadable):
    """The answer says different things in different cases, or everything in its condition: only the
    same words are the same answer."""


class Node(NamedTuple):
    """op and its arguments: nodes, or plain values for leaves.

    Leaves: num(Fraction, decimals shown or None), sym(name), const(pi, e, i, oo), based(digits,
    base).
    Inner: add, mul, div, pow, neg, pm (its sign is free), mp (the opposite of pm), fn(name, x...),
    log(base, x), root(n, x), abs, fact, floor, ceil, binom, deg (degrees, minutes and seconds
    included), pct, app(name, x...), dots (first and last terms of a sum or product with an
    ellipsis).
    """

    op: str
    args: tuple = ()


class Literal(NamedTuple):
    """A number written as a decimal: its value, the worth of its last digit, how many significant
    figures it shows; is it times a power of ten?"""

    value: Fraction
    unit_in_last_place: Fraction
    figures: int
    is_whole: bool
    is_scaled: bool = False


def walk(node: Node) -> Iterator[Node]:
    """The node and all below it."""
    yield node
    for a in node.args:
        if isinstance(a, Node):
            yield from walk(a)


def symbols(node: Node) -> frozenset[str]:
    """Names of the free symbols; functions that are only named are not among them."""
    return frozenset(n.args[0] for n in walk(node) if n.op == "sym")


def rename(node: Node, names: dict[str, str]) -> Node:
    """The same tree with symbols and named functions renamed."""
    if node.op == "sym":
        return Node("sym", (names.get(node.args[0], node.args[0]),))
    args = tuple(rename(a, names) if isinstance(a, Node) else a for a in node.args)
    return (
        Node(node.op, (names.get(args[0], args[0]), *args[1:]))
        if node.op == "app"
        else Node(node.op, args)
    )


def signs(node: Node) -> list[Node]:
    """The values a tree with plus-minus signs stands for: itself, or two (all signs go together).

    >>> [exact(n) for n in signs(Node("add", (number(1), Node("pm", (number(3),)))))]
    [Fraction(4, 1), Fraction(-2, 1)]
    """
    if not any(n.op in {"pm", "mp"} for n in walk(node)):
        return [node]

    def choose(n: Node, plus: bool) -> Node:
        args = tuple(choose(a, plus) if isinstance(a, Node) else a for a in n.args)
        if n.op in {"pm", "mp"}:
            return args[0] if (n.op == "pm") == plus else Node("neg", args)
        return Node(n.op, args)

    return [choose(node, True), choose(node, False)]


def number(value: int | Fraction, places: int | None = None) -> Node:
    return Node("num", (Fraction(value), places))


def exact(node: Node) -> Fraction | None:
    """The rational value, or None where there is none or it would be too long to write.

    >>> exact(Node("div", (number(1), number(3)))), exact(Node("pow", (number(2), number(10)))), exact(Node("const", ("pi",)))
    (Fraction(1, 3), Fraction(1024, 1), None)
    """
    op, args = node
    if op == "num":
        return args[0]
    if op == "based":
        return Fraction(int(args[0], args[1])) if args[1] <= 36 else None
    if op in {"sym", "const", "app", "pm", "mp", "dots", "deg", "fn", "log"}:
        return None
    values = [exact(a) if isinstance(a, Node) else a for a in args]
    if any(v is None for v in values) or any(_bits(v) > BITS for v in values):
        return None
    return _EXACT[op](*values) if op in _EXACT else None


def _bits(v: Fraction) -> int:
    return max(v.numerator.bit_length(), v.denominator.bit_length())


def _power(a: Fraction, b: Fraction) -> Fraction | None:
    if b.denominator != 1:
        top, bottom = _whole_root(a, b.denominator) if a >= 0 else (None, None)
        return (
            _power(Fraction(top, bottom), Fraction(b.numerator))
            if top is not None and bottom
            else None
        )
    n = b.numerator
    if (a == 0 and n < 0) or abs(n) * max(_bits(a), 1) > BITS:
        return None if a == 0 or abs(a) != 1 else a ** (n % 2)
    return a**n


def _whole_root(a: Fraction, n: int) -> tuple[int | None, int | None]:
    """(top, bottom) of the exact n-th root of a >= 0, or (None, None)."""
    parts = []
    for x in (a.numerator, a.denominator):
        if n > 60 or x.bit_length() > 2000:
            return None, None
        r = _integer_root(x, n)
        if r**n != x:
            return None, None
        parts.append(r)
    return parts[0], parts[1]


def _integer_root(x: int, n: int) -> int:
    low, high = 0, 1 << (x.bit_length() // n + 1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**n <= x else (low, middle - 1)
    return low


def _root(n: Fraction, x: Fraction) -> Fraction | None:
    if n.denominator != 1 or n < 1:
        return None
    if x < 0:
        value = _root(n, -x) if n % 2 else None
        return -value if value is not None else None
    top, bottom = _whole_root(x, n.numerator)
    return Fraction(top, bottom) if top is not None and bottom else None


def _factorial(a: Fraction) -> Fraction | None:
    import math

    return Fraction(math.factorial(a.numerator)) if a.denominator == 1 and 0 <= a <= 1000 else None


def _binomial(n: Fraction, k: Fraction) -> Fraction | None:
    import math

    whole = n.denominator == k.denominator == 1 and 0 <= n <= 5000 and k >= 0
    return Fraction(math.comb(n.numerator, k.numerator)) if whole else None


def _product(*values: Fraction) -> Fraction | None:
    out = Fraction(1)
    for v in values:
        out *= v
    return out


_EXACT = {
    "add": lambda *v: sum(v, Fraction(0)),
    "mul": _product,
    "div": lambda a, b: a / b if b else None,
    "neg": lambda a: -a,
    "pow": _power,
    "root": _root,
    "abs": abs,
    "fact": _factorial,
    "floor": lambda a: Fraction(a.__floor__()),
    "ceil": lambda a: Fraction(a.__ceil__()),
    "binom": _binomial,
    "pct": lambda a: a / 100,
}


def literal(node: Node) -> Literal | None:
    r"""How a number is written, if it is a decimal or a whole number, possibly signed or times a
    power of ten; else None.

    >>> literal(number(Fraction(8571, 100), 2))  # doctest: +NORMALIZE_WHITESPACE
    Literal(value=Fraction(8571, 100), unit_in_last_place=Fraction(1, 100), figures=4,
    is_whole=False, is_scaled=False)
    """
    op, args = node
    if op == "num":
        value, places = args
        if value.denominator != 1 and places is None:
            return None
        step = Fraction(1, 10 ** (places or 0))
        return Literal(
            value,
            step,
            len(str(abs(value.numerator * step.denominator // value.denominator)).lstrip("0")) or 1,
            not places,
        )
    if op == "neg" and (inner := literal(args[0])):
        return inner._replace(value=-inner.value)
    if (
        op == "mul"
        and len(args) == 2
        and (inner := literal(args[0]))
        and (scale := _power_of_ten(args[1]))
    ):
        return Literal(
            inner.value * scale, inner.unit_in_last_place * scale, inner.figures, False, True
        )
    return None


def _power_of_ten(node: Node) -> Fraction | None:
    if (
        node.op == "pow"
        and exact(node.args[0]) == 10
        and (n := exact(node.args[1])) is not None
        and n.denominator == 1
        and abs(n) < 400
    ):
        return Fraction(10) ** n.numerator
    return None
