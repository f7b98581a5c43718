"""Sets of real numbers: intervals, inequalities, unions, single points, all as sorted pieces with
ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mpmath

from sage_bench.grading.robust.read.forms import Combined, Form, Many, Named, Relation, Value, Whole
from sage_bench.grading.robust.read.nodes import Node, number, symbols, walk
from sage_bench.grading.robust.read.numeric import CLOSE, Undefined, evaluate
from sage_bench.grading.robust.compare.same import same, same_number

INFINITY = Node("const", ("oo",))
_FLIP = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "!=": "!="}


@dataclass(frozen=True)
class Piece:
    """From low to high; an end belongs to it or not. A point is a piece with equal ends."""

    low: Node
    high: Node
    has_low: bool
    has_high: bool


@dataclass(frozen=True)
class Pieces:
    """A set of reals. name: the variable an inequality was about, if any."""

    pieces: tuple[Piece, ...]
    name: str | None = None


def pieces(form: Form) -> Pieces | None:
    """The set of reals a form describes, or None. A bare number is a point only inside a union."""
    if isinstance(form, Named):
        inside = pieces(form.value)
        return Pieces(inside.pieces, form.name) if inside else None
    if isinstance(form, Whole):
        return {
            "reals": Pieces((_piece(_minus(INFINITY), INFINITY, False, False),)),
            "emptyset": Pieces(()),
        }.get(form.name)
    if isinstance(form, Many):
        return _bracketed(form)
    if isinstance(form, Relation):
        return _solved(form)
    if isinstance(form, Combined):
        return _combined(form)
    return None


def _bracketed(form: Many) -> Pieces | None:
    if not form.opening and len(form.items) > 1:  # "(-oo, 1) and (3, oo)"
        parts = [
            _bracketed(i) if isinstance(i, Many) and i.ordered and _is_open_ended(i) else None
            for i in form.items
        ]
        return Pieces(tuple(x for p in parts if p for x in p.pieces)) if all(parts) else None
    values = [
        i.node for i in form.items if isinstance(i, Value) and (i.unit is None or i.unit.is_angle)
    ]
    if len(values) != len(form.items):
        return None
    if form.ordered and len(values) == 2 and form.closing in {")", "]"}:
        return Pieces((_piece(values[0], values[1], form.opening == "[", form.closing == "]"),))
    return Pieces(tuple(_piece(v, v, True, True) for v in values)) if form.opening == "{" else None


def _is_open_ended(pair: Many) -> bool:
    """A pair that can only be an interval: an infinite end, or brackets of two kinds."""
    return (pair.opening, pair.closing) not in {("(", ")"), ("[", "]")} or any(
        isinstance(i, Value) and _is_infinite(i.node) for i in pair.items
    )


def _solved(form: Relation) -> Pieces | None:
    """`x < 3`, `1 <= x < 2`, `x != 5`: one side is the variable, the others are free of it."""
    if not set(form.ops) <= set(_FLIP) or not all(isinstance(s, Node) for s in form.sides):
        return None
    sides: list[Any] = list(form.sides)
    at = (
        1
        if len(sides) == 3
        else next(
            (i for i, s in enumerate(sides) if s.op in {"sym", "app"}),
            next((i for i, s in enumerate(sides) if symbols(s)), -1),
        )
    )
    if (
        at < 0
        or len(sides) > 3
        or not symbols(sides[at])
        or any(symbols(s) & symbols(sides[at]) for i, s in enumerate(sides) if i != at)
    ):
        return None
    if len(sides) == 2 and sides[at].op not in {"sym", "app"} and symbols(sides[1 - at]):
        return None
    if sides[at].op == "abs" and sides[at].args[0].op == "sym":
        return _absolute(sides, at, form.ops)
    ops = list(form.ops)
    if (solved := _linear(sides, at)) is not None:
        sides, turned = solved
        ops = [_FLIP[op] for op in ops] if turned else ops
    middle = sides[at]
    plain = middle.op == "sym" or (
        middle.op == "app" and all(a.op == "sym" for a in middle.args[1:])
    )
    name = str(middle.args[0]) if plain else str(middle)
    low, high, has_low, has_high = _minus(INFINITY), INFINITY, False, False
    for i, op in enumerate(ops):
        other, op = (sides[i + 1], op) if i == at else (sides[i], _FLIP[op])
        if op == "!=":
            return (
                Pieces((_piece(low, other, False, False), _piece(other, high, False, False)), name)
                if len(sides) == 2
                else None
            )
        if op in {"<", "<="}:
            high, has_high = other, op == "<="
        else:
            low, has_low = other, op == ">="
    return Pieces((_piece(low, high, has_low, has_high),), name)


def _linear(sides: list[Any], at: int) -> tuple[list[Any], bool] | None:
    """`0 < 2x + 1 < 4` for x alone, and whether the signs turn; None where the side is no such
    expression."""
    names = symbols(sides[at])
    if (
        sides[at].op not in {"add", "mul", "neg", "div"}
        or len(names) != 1
        or not all(
            n.op in {"sym", "num", "add", "mul", "neg", "div", "root", "const"}
            for n in walk(sides[at])
        )
    ):
        return None
    (name,) = names
    try:
        start, *values = [
            mpmath.re(evaluate(sides[at], {name: mpmath.mpf(x)})) for x in (0, 1, 2, -3)
        ]
    except Undefined:
        return None
    slope = values[0] - start
    if abs(slope) <= CLOSE or any(
        abs(start + x * slope - v) > CLOSE * (1 + abs(v))
        for x, v in zip((1, 2, -3), values, strict=True)
    ):
        return None
    zero, one = (_put(sides[at], name, number(x)) for x in (0, 1))
    steep = Node("add", (one, _minus(zero)))
    moved = [
        (
            Node("sym", (name,))
            if i == at
            else s
            if _is_infinite(s)
            else Node("div", (Node("add", (s, _minus(zero))), steep))
        )
        for i, s in enumerate(sides)
    ]
    return (moved, slope < 0) if slope > 0 or not any(_is_infinite(s) for s in sides) else None


def _put(node: Node, name: str, value: Node) -> Node:
    if node.op == "sym":
        return value if node.args[0] == name else node
    return Node(
        node.op, tuple(_put(a, name, value) if isinstance(a, Node) else a for a in node.args)
    )


def _absolute(sides: list[Any], at: int, ops: tuple[str, ...]) -> Pieces | None:
    """`1 <= |x| < 3` is two intervals around zero."""
    inner = Node("sym", ("|",))
    found = _solved(Relation(tuple(inner if i == at else s for i, s in enumerate(sides)), ops))
    name = str(sides[at].args[0].args[0])
    if found is not None and ops == ("!=",):
        end = found.pieces[0].high
        return Pieces(
            (
                _piece(_minus(INFINITY), _minus(end), False, False),
                _piece(_minus(end), end, False, False),
                _piece(end, INFINITY, False, False),
            ),
            name,
        )
    if found is None or len(found.pieces) != 1:
        return None
    p = found.pieces[0]
    if _is_infinite(p.low):
        return Pieces((_piece(_minus(p.high), p.high, p.has_high, p.has_high),), name)
    return Pieces(
        (
            _piece(
                _minus(p.high) if not _is_infinite(p.high) else _minus(INFINITY),
                _minus(p.low),
                p.has_high,
                p.has_low,
            ),
            p,
        ),
        name,
    )


def _combined(form: Combined) -> Pieces | None:
    parts = [_point(p) or pieces(p) for p in form.parts]
    if any(p is None for p in parts):
        return None
    names = {p.name for p in parts if p and p.name}
    if len(names) > 1:
        return None
    first, *rest = [p.pieces for p in parts if p]
    if form.how in {"union", "or"}:
        joined = first + tuple(x for r in rest for x in r)
    else:
        joined = first
        for other in rest:
            found = _intersection(joined, _complement(other) if form.how == "difference" else other)
            if found is None:
                return None
            joined = found
    return Pieces(joined, names.pop() if names else None)


def _point(form: Form) -> Pieces | None:
    value = form.value if isinstance(form, Named) else form
    if isinstance(value, Value):
        return Pieces(
            (_piece(value.node, value.node, True, True),),
            form.name if isinstance(form, Named) else None,
        )
    return None


def _piece(low: Node, high: Node, has_low: bool, has_high: bool) -> Piece:
    return Piece(low, high, has_low and not _is_infinite(low), has_high and not _is_infinite(high))


def _minus(node: Node) -> Node:
    return Node("neg", (node,))


def _is_infinite(node: Node) -> bool:
    return node == INFINITY or (node.op == "neg" and node.args[0] == INFINITY)


def _number(node: Node) -> Any | None:
    if _is_infinite(node):
        return -mpmath.inf if node.op == "neg" else mpmath.inf
    try:
        return None if symbols(node) else mpmath.re(evaluate(node, {}))
    except Undefined:
        return None


def _complement(of: tuple[Piece, ...]) -> tuple[Piece, ...]:
    """Everything else; the pieces must be sorted (they are few: it sorts them)."""
    ordered = _merged(of) or of
    out, low, has_low = [], _minus(INFINITY), False
    for p in ordered:
        if not (low == p.low and _is_infinite(low)):
            out.append(_piece(low, p.low, has_low, not p.has_low))
        low, has_low = p.high, not p.has_high
    if low != INFINITY:
        out.append(_piece(low, INFINITY, has_low, False))
    return tuple(out)


def _intersection(a: tuple[Piece, ...], b: tuple[Piece, ...]) -> tuple[Piece, ...] | None:
    out = []
    for p in a:
        for q in b:
            ends = [_number(n) for n in (p.low, q.low, p.high, q.high)]
            if any(e is None for e in ends):
                return None
            low, has_low = (
                (p.low, p.has_low)
                if ends[0] > ends[1]
                else (q.low, q.has_low)
                if ends[1] > ends[0]
                else (p.low, p.has_low and q.has_low)
            )
            high, has_high = (
                (p.high, p.has_high)
                if ends[2] < ends[3]
                else (
                    (q.high, q.has_high)
                    if ends[3] < ends[2]
                    else (p.high, p.has_high and q.has_high)
                )
            )
            a_low, a_high = max(ends[0], ends[1]), min(ends[2], ends[3])
            if a_low < a_high or (a_low == a_high and has_low and has_high):
                out.append(_piece(low, high, has_low, has_high))
    return tuple(out)


def _merged(of: tuple[Piece, ...]) -> tuple[Piece, ...] | None:
    """Sorted, overlapping and touching pieces joined; None where an end is no number."""
    ends = [(_number(p.low), _number(p.high), p) for p in of]
    if any(a is None or b is None for a, b, _ in ends):
        return None
    out: list[list] = []
    for low, high, p in sorted(
        (
            (a, b, p)
            for a, b, p in ends
            if a < b or (p.has_low and p.has_high and abs(a - b) <= CLOSE * max(1, abs(a)))
        ),
        key=lambda e: (e[0], not e[2].has_low),
    ):
        if out and (
            low < out[-1][1] or (_touch(low, out[-1][1]) and (p.has_low or out[-1][2].has_high))
        ):
            last = out[-1]
            if high > last[1] or (_touch(high, last[1]) and p.has_high):
                keep = p.has_high or (_touch(high, last[1]) and last[2].has_high)
                last[1], last[2] = high, Piece(last[2].low, p.high, last[2].has_low, keep)
        else:
            out.append([low, high, p])
    return tuple(p for _, _, p in out)


def integers_in(of: Pieces, *, from_one: bool = False, most: int = 100) -> list[Node] | None:
    """The whole numbers in a set, in order; None when they are too many or an end is no number.
    from_one: natural numbers only."""
    found: list[int] = []
    for p in of.pieces:
        low, high = _number(p.low), _number(p.high)
        if (
            low is None
            or high is None
            or high == mpmath.inf
            or (low == -mpmath.inf and not from_one)
            or high - (1 if low == -mpmath.inf else low) > most
        ):
            return None
        first = max(int(mpmath.ceil(low)) if low != -mpmath.inf else 1, 1 if from_one else -(10**9))
        inside = range(first, int(mpmath.floor(high)) + 1)
        found += [
            n
            for n in inside
            if (p.has_low or not _touch(mpmath.mpf(n), low))
            and (p.has_high or not _touch(mpmath.mpf(n), high))
        ]
    return [number(n) for n in sorted(set(found))]


def _touch(a: Any, b: Any) -> bool:
    return bool(
        a == b
        or (mpmath.isfinite(a) and mpmath.isfinite(b) and abs(a - b) <= CLOSE * max(1, abs(a)))
    )


def same_pieces(a: Pieces, b: Pieces) -> bool:
    """Equal as sets; the variables' names must agree where both are given.

    >>> from sage_bench.grading.robust.read.reader import read
    >>> def check(x, y): return same_pieces(pieces(read(x)[0].form), pieces(read(y)[0].form))
    >>> check("(3, 4]", r"3 < x \\le 4"), check("[0,1]", "[0,1)"), check(r"(-\\infty, 2) \\cup (2, \\infty)", r"x \\ne 2"), check("x < 3", "y < 3")
    (True, False, True, False)
    """
    if a.name and b.name and a.name.casefold() != b.name.casefold():
        return False
    one, two = _merged(a.pieces), _merged(b.pieces)
    if one is None or two is None:
        one, two = a.pieces, b.pieces
    return len(one) == len(two) and all(
        (p.has_low, p.has_high) == (q.has_low, q.has_high)
        and _same_end(p.low, q.low)
        and _same_end(p.high, q.high)
        for p, q in zip(one, two, strict=True)
    )


def _same_end(a: Node, b: Node) -> bool:
    if _is_infinite(a) or _is_infinite(b):
        return _number(a) == _number(b) if _is_infinite(a) and _is_infinite(b) else False
    return bool(same_number(a, b) if not symbols(a) else same(a, b))
