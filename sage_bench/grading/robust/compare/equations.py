"""Equations and inequalities as wholes: the same when their differences of sides are
proportional."""

from __future__ import annotations

import re

import mpmath

from sage_bench.grading.robust.read.forms import Form, Named, Relation, Value, Words
from sage_bench.grading.robust.read.nodes import Node, Unreadable, exact, symbols, walk
from sage_bench.grading.robust.read.numeric import CLOSE, Undefined, evaluate, points
from sage_bench.grading.robust.read.parser import parse_text
from sage_bench.grading.robust.compare.same import same

_TURN = {">": "<", ">=": "<="}


def equation_of(form: Form) -> Relation | None:
    """`y = 2x` as a relation; None for what is none."""
    if isinstance(form, Relation):
        return form
    if (
        isinstance(form, Named)
        and isinstance(form.value, Value)
        and re.fullmatch(r"(\\[A-Za-z]+|[A-Za-z])(_\w+)?'*", form.name)
    ):
        return Relation((Node("sym", (form.name,)), form.value.node), ("=",))
    if (
        isinstance(form, Named)
        and isinstance(form.value, Value)
        and not form.in_words
        and not form.parameters
    ):
        try:
            return Relation((parse_text(form.name), form.value.node), ("=",))
        except Unreadable:
            return None
    return None


def same_relation(g: Relation | None, a: Relation | None) -> bool:
    r"""The same condition on the same symbols: each step is the other's up to a factor (a positive
    one for inequalities).

    >>> from sage_bench.grading.robust.read.reader import read
    >>> def check(x, y): return same_relation(equation_of(read(x)[0].form), equation_of(read(y)[0].form))
    >>> check("x^2+y^2=1", "1-x^2-y^2=0"), check("2 > x+y", "x+y < 2"), check("y = 2x + 3", "2x - y = -3"), check("x+y<2", "x+y>2")
    (True, True, True, False)
    """
    if g is None or a is None or len(g.ops) != len(a.ops):
        return False
    if g.ops == a.ops == ("=", "mod"):
        return _same_congruence(g.sides, a.sides)  # type: ignore[arg-type]
    if all(_same_step(*x, *y) for x, y in zip(_steps(g), _steps(a), strict=True)):
        return True
    return len(g.ops) > 1 and all(
        _same_step(*x, *y) for x, y in zip(_steps(g), reversed(_steps(a)), strict=True)
    )


def _same_congruence(g: tuple[Node, ...], a: tuple[Node, ...]) -> bool:
    """`x ≡ 3 (mod 7)` and `x ≡ -4 (mod 7)`: the same modulus, and differences of sides that differ
    by a multiple of it."""
    modulus, other = exact(g[2]), exact(a[2])
    if modulus is None or modulus != other or modulus == 0:
        return False
    gap = Node("add", (g[0], Node("neg", (g[1],)), Node("neg", (a[0],)), a[1]))
    values = [evaluate(gap, at) / int(modulus) for at in points(sorted(symbols(gap)), True, 4)]
    return all(abs(v - mpmath.nint(v)) < CLOSE and v == values[0] for v in values)


def _steps(r: Relation) -> list[tuple[Node | Words, str, Node | Words]]:
    """Each comparison as (left, op, right) with op one of = != < <= ~."""
    out = []
    for i, op in enumerate(r.ops):
        left, right = r.sides[i], r.sides[i + 1]
        out.append((right, _TURN[op], left) if op in _TURN else (left, op, right))
    return out


def _same_step(
    g_left: Node | Words,
    g_op: str,
    g_right: Node | Words,
    a_left: Node | Words,
    a_op: str,
    a_right: Node | Words,
) -> bool:
    if g_op != a_op:
        return False
    sides = (g_left, g_right, a_left, a_right)
    if any(
        isinstance(s, Words) for s in sides
    ):  # a side told in words ("the sum") stands for whatever the other has there
        pairs = ((g_left, a_left), (g_right, a_right))
        if any(len({_of_whole_numbers(s) for s in pair}) > 1 for pair in pairs):
            return False
        return all(isinstance(x, Words) or isinstance(y, Words) or same(x, y) for x, y in pairs)
    if same(g_left, a_left) and same(g_right, a_right):  # type: ignore[arg-type]
        return True
    gold, answer = (
        Node("add", (x, Node("neg", (y,)))) for x, y in ((g_left, g_right), (a_left, a_right))
    )
    ratios = []
    for at in points(sorted(symbols(gold) | symbols(answer)), False, 12):
        try:
            x, y = evaluate(gold, at), evaluate(answer, at)
        except Undefined:
            continue
        if abs(x) < CLOSE or abs(y) < CLOSE:
            if abs(x) >= CLOSE or abs(y) >= CLOSE:
                return False
            continue
        ratios.append(x / y)
    if len(ratios) < 3 or any(abs(r - ratios[0]) > CLOSE * abs(r) for r in ratios):
        return False
    return g_op in {"=", "!=", "~"} or (not isinstance(ratios[0], mpmath.mpc) and ratios[0] > 0)


def _of_whole_numbers(side: Node | Words) -> bool:
    """All integers greater than 3 are not all numbers greater than 3."""
    return isinstance(side, Words) and bool(
        re.search(r"integer|natural|whole|prime|odd|even|digit", side.said, re.I)
    )


def is_quantity(node: Node) -> bool:
    """Is this side of a gold equation one thing with a value (`\\sin x`, `f(2)`, `|AB|`), rather
    than a formula?"""
    if node.op in {"fn", "app", "abs"}:
        return True
    return (
        node.op in {"mul", "div"}
        and bool(symbols(node))
        and not any(n.op in {"num", "add"} for n in walk(node))
        and all(re.fullmatch(r"[A-Z].*|\\.*", s) for s in symbols(node))
    )
