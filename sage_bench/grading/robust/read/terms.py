"""Nodes that several tokens make together: numbers, products, signs, mixed numbers, ellipses."""

from __future__ import annotations

import re
from fractions import Fraction

from sage_bench.grading.robust.read.nodes import (
    INFINITY,
    Kind,
    Node,
    Unreadable,
    negative,
    number,
)

_REPEATING = re.compile(r"(\d*)\.(\d*)\\(?:overline|bar|dot)\s*\{(\d+)\}")
MOST_POWER = 400  # of ten, in `1e400`


def number_of(text: str) -> Node:
    r"""The node of a number's token.

    >>> number_of("0.25").args, number_of(r"0.1\overline{6}").args
    ((Fraction(1, 4), 2), (Fraction(1, 6), None))
    """
    m = _REPEATING.fullmatch(text)
    if m:
        whole, fixed, repeated = m[1] or "0", m[2], m[3]
        top = int(whole + fixed + repeated) - int(whole + fixed)
        bottom = (10 ** len(repeated) - 1) * 10 ** len(fixed)
        return number(Fraction(top, bottom))
    mantissa, _, power = text.lower().partition("e")
    places = len(mantissa.partition(".")[2]) or None
    value = number(Fraction(mantissa), places)
    if not power:
        return value
    if abs(int(power)) > MOST_POWER:
        raise Unreadable("out of range")
    return Node(Kind.MUL, (value, Node(Kind.POW, (number(10), number(int(power))))))


def product_of(factors: list[Node]) -> Node:
    return factors[0] if len(factors) == 1 else Node(Kind.MUL, tuple(factors))


def with_sign(sign: str | None, node: Node) -> Node:
    r"""`-x`, `\pm x`, `\mp x`; a plus or nothing leaves the node as it is."""
    if sign == "-":
        return negative(node)
    if sign == "\\pm":
        return Node(Kind.PM, (node,))
    if sign == "\\mp":
        return Node(Kind.MP, (node,))
    return node


def is_proper(part: Node) -> bool:
    r"""The fraction of `2\frac{3}{4}`: of whole numbers, below one.

    After a whole number it is added, not multiplied.
    """
    if part.kind is not Kind.DIV:
        return False
    top, bottom = part.args
    if not all(a.kind is Kind.NUM and a.args[1] is None for a in part.args):
        return False
    return bool(0 < top.args[0] < bottom.args[0])


def is_ellipsis(node: Node) -> bool:
    if node.kind is Kind.NEG:
        node = node.args[0]
    return node.kind is Kind.ELLIPSIS


def with_dots(kind: Kind, terms: list[Node]) -> Node:
    """A sum or product with an ellipsis, known by its ends, and by its step where it has one."""
    at = next((i for i, n in enumerate(terms) if is_ellipsis(n)), 0)
    before = terms[:at]
    after = [n for n in terms[at + 1 :] if not is_ellipsis(n)]
    if not before:
        raise Unreadable("an ellipsis with nothing before it")
    last = after[-1] if after else INFINITY
    return Node(Kind.DOTS, (kind, before[0], last, *before[1:2]))
