"""Equations and inequalities as wholes: the same when their differences of sides are
proportional."""

from __future__ import annotations

import re
from typing import NamedTuple

import mpmath

from sage_bench.grading.robust.compare.same import same
from sage_bench.grading.robust.read.exact import exact
from sage_bench.grading.robust.read.forms import Form, Named, Relation, Value, Words
from sage_bench.grading.robust.read.nodes import (
    Kind,
    Node,
    Unreadable,
    difference,
    symbol,
    symbols,
    walk,
)
from sage_bench.grading.robust.read.numeric import CLOSE, Undefined, evaluate, points
from sage_bench.grading.robust.read.parser import parse_text

_TURN = {">": "<", ">=": "<="}
_PLAIN_NAME = re.compile(r"(\\[A-Za-z]+|[A-Za-z])(_\w+)?'*")
_CAPITAL = re.compile(r"[A-Z].*|\\.*")
_OF_WHOLE_NUMBERS = re.compile(r"integer|natural|whole|prime|odd|even|digit", re.I)
TRIALS = 12  # values at which two differences of sides are compared
FEWEST = 3  # of them that must exist


class Step(NamedTuple):
    """One comparison of a chain; op is one of = != < <= ~."""

    left: Node | Words
    op: str
    right: Node | Words


def equation_of(form: Form) -> Relation | None:
    """`y = 2x` as a relation; None for anything else."""
    if isinstance(form, Relation):
        return form
    if not isinstance(form, Named) or not isinstance(form.value, Value):
        return None
    if _PLAIN_NAME.fullmatch(form.name):
        return Relation((symbol(form.name), form.value.node), ("=",))
    if form.in_words or form.parameters:
        return None
    try:
        return Relation((parse_text(form.name), form.value.node), ("=",))
    except Unreadable:
        return None


def same_relation(g: Relation | None, a: Relation | None) -> bool:
    r"""The same condition on the same symbols.

    Each step is the other's up to a factor (a positive one for inequalities).

    >>> from sage_bench.grading.robust.read.readings import read
    >>> def check(x, y):
    ...     return same_relation(equation_of(read(x)[0].form), equation_of(read(y)[0].form))
    >>> check("x^2+y^2=1", "1-x^2-y^2=0"), check("y = 2x + 3", "2x - y = -3")
    (True, True)
    >>> check("2 > x+y", "x+y < 2"), check("x+y<2", "x+y>2")
    (True, False)
    """
    if g is None or a is None or len(g.ops) != len(a.ops):
        return False
    if g.ops == a.ops == ("=", "mod"):
        return _same_congruence(g, a)
    ours, theirs = _steps(g), _steps(a)
    if all(map(_same_step, ours, theirs)):
        return True
    return len(ours) > 1 and all(map(_same_step, ours, reversed(theirs)))


def _same_congruence(g: Relation, a: Relation) -> bool:
    """`x ≡ 3 (mod 7)` and `x ≡ -4 (mod 7)`.

    The same modulus, and differences of sides that differ by a multiple of it.
    """
    ours = [s for s in g.sides if isinstance(s, Node)]
    theirs = [s for s in a.sides if isinstance(s, Node)]
    modulus = exact(ours[2])
    if modulus is None or modulus != exact(theirs[2]) or modulus == 0:
        return False
    gap = difference(difference(ours[0], ours[1]), difference(theirs[0], theirs[1]))
    values = [evaluate(gap, at) / int(modulus) for at in points(sorted(symbols(gap)), True, 4)]
    return all(abs(v - mpmath.nint(v)) < CLOSE and v == values[0] for v in values)


def _steps(r: Relation) -> list[Step]:
    """The comparisons of a chain, none of them with a sign that points to the left."""
    out = []
    for left, op, right in zip(r.sides, r.ops, r.sides[1:], strict=False):
        turned = op in _TURN
        out.append(Step(right, _TURN[op], left) if turned else Step(left, op, right))
    return out


def _same_step(g: Step, a: Step) -> bool:
    if g.op != a.op:
        return False
    sides = [s for s in (g.left, g.right, a.left, a.right) if isinstance(s, Node)]
    if len(sides) < 4:
        return _fits(g.left, a.left) and _fits(g.right, a.right)
    g_left, g_right, a_left, a_right = sides
    if same(g_left, a_left) and same(g_right, a_right):
        return True
    if g.op in {"|", "!|"}:
        return False
    factor = _common_factor(difference(g_left, g_right), difference(a_left, a_right))
    if factor is None:
        return False
    return g.op in {"=", "!=", "~"} or (not isinstance(factor, mpmath.mpc) and bool(factor > 0))


def _fits(one: Node | Words, two: Node | Words) -> bool:
    """A side told in words ("the sum") stands for whatever the other has there.

    But all integers greater than 3 are not all numbers greater than 3.
    """
    if _is_of_whole_numbers(one) != _is_of_whole_numbers(two):
        return False
    return isinstance(one, Words) or isinstance(two, Words) or bool(same(one, two))


def _is_of_whole_numbers(side: Node | Words) -> bool:
    return isinstance(side, Words) and bool(_OF_WHOLE_NUMBERS.search(side.text))


def _common_factor(gold: Node, answer: Node) -> mpmath.mpf | mpmath.mpc | None:
    """What one is times the other, or None where they are not proportional."""
    ratios = []
    for at in points(sorted(symbols(gold) | symbols(answer)), False, TRIALS):
        try:
            x, y = evaluate(gold, at), evaluate(answer, at)
        except Undefined:
            continue
        zeros = [abs(x) < CLOSE, abs(y) < CLOSE]
        if zeros[0] != zeros[1]:
            return None
        if not zeros[0]:
            ratios.append(x / y)
    if len(ratios) < FEWEST or any(abs(r - ratios[0]) > CLOSE * abs(r) for r in ratios):
        return None
    return ratios[0]


def is_quantity(node: Node) -> bool:
    r"""Is this side of a gold equation one thing with a value, rather than a formula?

    `\sin x`, `f(2)`, `|AB|` and `\frac{AB}{CD}` are.
    """
    if node.kind in (Kind.FN, Kind.APP, Kind.ABS):
        return True
    if node.kind not in (Kind.MUL, Kind.DIV) or not symbols(node):
        return False
    if any(n.kind in (Kind.NUM, Kind.ADD) for n in walk(node)):
        return False
    return all(_CAPITAL.fullmatch(s) for s in symbols(node))
