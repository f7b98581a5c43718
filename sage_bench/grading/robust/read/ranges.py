"""Sets of real numbers: intervals, inequalities, unions, points, all as sorted pieces with ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import mpmath

from sage_bench.grading.robust.read.forms import Combined, Form, Many, Named, Relation, Value, Whole
from sage_bench.grading.robust.read.nodes import (
    INFINITY,
    Kind,
    Node,
    difference,
    negative,
    number,
    substitute,
    symbol,
    symbols,
    walk,
)
from sage_bench.grading.robust.read.numeric import CLOSE, Undefined, evaluate

MINUS_INFINITY = negative(INFINITY)
_FLIP = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "!=": "!="}
_LINEAR = frozenset(
    {Kind.SYM, Kind.NUM, Kind.ADD, Kind.MUL, Kind.NEG, Kind.DIV, Kind.ROOT, Kind.CONST}
)
_INTERVAL_BRACKETS = {("(", ")"), ("[", "]")}
MOST_INTEGERS = 100


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
    """The set of reals a form describes, or None. A bare number is a point only in a union."""
    if isinstance(form, Named):
        inside = pieces(form.value)
        return replace(inside, name=form.name) if inside else None
    if isinstance(form, Whole):
        if form.name == "emptyset":
            return Pieces(())
        return Pieces((_line(),)) if form.name == "reals" else None
    if isinstance(form, Many):
        return _bracketed(form)
    if isinstance(form, Relation):
        return _solved(form)
    if isinstance(form, Combined):
        return _combined(form)
    return None


def _line() -> Piece:
    return Piece(MINUS_INFINITY, INFINITY, False, False)


def _bracketed(form: Many) -> Pieces | None:
    """An interval, a finite set, or several intervals side by side."""
    if not form.opening and len(form.items) > 1:  # "(-oo, 1) and (3, oo)"
        joined: list[Piece] = []
        for item in form.items:
            if not isinstance(item, Many) or not item.ordered or not _is_open_ended(item):
                return None
            part = _bracketed(item)
            if part is None:
                return None
            joined += part.pieces
        return Pieces(tuple(joined))
    values = [
        i.node for i in form.items if isinstance(i, Value) and (i.unit is None or i.unit.is_angle)
    ]
    if len(values) != len(form.items):
        return None
    if form.ordered and len(values) == 2 and form.closing in {")", "]"}:
        low, high = values
        return Pieces((_piece(low, high, form.opening == "[", form.closing == "]"),))
    return Pieces(tuple(_point_at(v) for v in values)) if form.opening == "{" else None


def _is_open_ended(pair: Many) -> bool:
    """A pair that can only be an interval: an infinite end, or brackets of two kinds."""
    if (pair.opening, pair.closing) not in _INTERVAL_BRACKETS:
        return True
    return any(isinstance(i, Value) and is_infinite(i.node) for i in pair.items)


# --- inequalities --------------------------------------------------------------------------------
def _solved(form: Relation) -> Pieces | None:
    """`x < 3`, `1 <= x < 2`, `x != 5`: one side is the variable, the others are free of it."""
    sides = [s for s in form.sides if isinstance(s, Node)]
    if not set(form.ops) <= set(_FLIP) or len(sides) < len(form.sides) or len(sides) > 3:
        return None
    at = _variable_side(sides)
    if at is None:
        return None
    if sides[at].kind is Kind.ABS and sides[at].args[0].kind is Kind.SYM:
        return _absolute(sides, at, form.ops)
    ops = list(form.ops)
    if (solved := _linear(sides, at)) is not None:
        sides, turned = solved
        ops = [_FLIP[op] for op in ops] if turned else ops
    name = _variable_name(sides[at])
    whole = _line()
    low, high, has_low, has_high = whole.low, whole.high, False, False
    for i, op in enumerate(ops):
        other = sides[i + 1] if i == at else sides[i]
        op = op if i == at else _FLIP[op]  # as if the variable stood on the left
        if op == "!=":
            if len(sides) > 2:
                return None
            below, above = _piece(low, other, False, False), _piece(other, high, False, False)
            return Pieces((below, above), name)
        if op in {"<", "<="}:
            high, has_high = other, op == "<="
        else:
            low, has_low = other, op == ">="
    return Pieces((_piece(low, high, has_low, has_high),), name)


def _variable_side(sides: Sequence[Node]) -> int | None:
    """Which side is the variable, or None where none can be."""
    if len(sides) == 3:
        at = 1
    else:
        plain = [i for i, s in enumerate(sides) if s.kind in (Kind.SYM, Kind.APP)]
        others = [i for i, s in enumerate(sides) if symbols(s)]
        at = next(iter(plain + others), -1)
    if at < 0 or not symbols(sides[at]):
        return None
    about = symbols(sides[at])
    if any(symbols(s) & about for i, s in enumerate(sides) if i != at):
        return None
    is_plain = sides[at].kind in (Kind.SYM, Kind.APP)
    if len(sides) == 2 and not is_plain and symbols(sides[1 - at]):
        return None
    return at


def _variable_name(node: Node) -> str:
    applied = node.kind is Kind.APP and all(a.kind is Kind.SYM for a in node.args[1:])
    return str(node.args[0]) if node.kind is Kind.SYM or applied else str(node)


def _linear(sides: Sequence[Node], at: int) -> tuple[list[Node], bool] | None:
    """`0 < 2x + 1 < 4` for x alone, and whether the signs turn.

    None where the side is not linear in one symbol.
    """
    middle = sides[at]
    names = symbols(middle)
    if middle.kind not in (Kind.ADD, Kind.MUL, Kind.NEG, Kind.DIV) or len(names) != 1:
        return None
    if not all(n.kind in _LINEAR for n in walk(middle)):
        return None
    (name,) = names
    tried = (1, 2, -3)
    try:
        start, *values = [mpmath.re(evaluate(middle, {name: mpmath.mpf(x)})) for x in (0, *tried)]
    except Undefined:
        return None
    slope = values[0] - start
    if abs(slope) <= CLOSE:
        return None
    for x, value in zip(tried, values, strict=True):
        if abs(start + x * slope - value) > CLOSE * (1 + abs(value)):
            return None
    if slope < 0 and any(is_infinite(s) for s in sides):
        return None
    zero = substitute(middle, {symbol(name): number(0)})
    one = substitute(middle, {symbol(name): number(1)})
    steep = difference(one, zero)
    moved = list(sides)
    for i, s in enumerate(sides):
        if i != at and not is_infinite(s):
            moved[i] = Node(Kind.DIV, (difference(s, zero), steep))
    moved[at] = symbol(name)
    return moved, bool(slope < 0)


def _absolute(sides: Sequence[Node], at: int, ops: tuple[str, ...]) -> Pieces | None:
    """`1 <= |x| < 3` is two intervals around zero."""
    plain = list(sides)
    plain[at] = symbol("|")
    found = _solved(Relation(tuple(plain), ops))
    name = str(sides[at].args[0].args[0])
    if found is None:
        return None
    if ops == ("!=",):
        end = found.pieces[0].high
        ends = [MINUS_INFINITY, negative(end), end, INFINITY]
        return Pieces(tuple(_piece(a, b, False, False) for a, b in pairwise(ends)), name)
    if len(found.pieces) != 1:
        return None
    p = found.pieces[0]
    far = MINUS_INFINITY if is_infinite(p.high) else negative(p.high)
    if is_infinite(p.low):
        return Pieces((_piece(negative(p.high), p.high, p.has_high, p.has_high),), name)
    return Pieces((_piece(far, negative(p.low), p.has_high, p.has_low), p), name)


# --- unions and intersections --------------------------------------------------------------------
def _combined(form: Combined) -> Pieces | None:
    parts: list[Pieces] = []
    for part in form.parts:
        found = _point(part) or pieces(part)
        if found is None:
            return None
        parts.append(found)
    names = {p.name for p in parts if p.name}
    if len(names) > 1:
        return None
    joined = parts[0].pieces
    for other in parts[1:]:
        if form.how in {"union", "or"}:
            joined += other.pieces
            continue
        kept = _complement(other.pieces) if form.how == "difference" else other.pieces
        met = _intersection(joined, kept)
        if met is None:
            return None
        joined = met
    return Pieces(joined, names.pop() if names else None)


def _point(form: Form) -> Pieces | None:
    value = form.value if isinstance(form, Named) else form
    if not isinstance(value, Value):
        return None
    return Pieces((_point_at(value.node),), form.name if isinstance(form, Named) else None)


def _point_at(node: Node) -> Piece:
    return _piece(node, node, True, True)


def _piece(low: Node, high: Node, has_low: bool, has_high: bool) -> Piece:
    """A piece whose infinite ends do not belong to it."""
    return Piece(low, high, has_low and not is_infinite(low), has_high and not is_infinite(high))


def is_infinite(node: Node) -> bool:
    return node in (INFINITY, MINUS_INFINITY)


def end_value(node: Node) -> Any | None:
    """The number an end is, infinite ones included; None where it has symbols or no value."""
    if is_infinite(node):
        return -mpmath.inf if node.kind is Kind.NEG else mpmath.inf
    try:
        return None if symbols(node) else mpmath.re(evaluate(node, {}))
    except Undefined:
        return None


def _complement(of: tuple[Piece, ...]) -> tuple[Piece, ...]:
    """Everything else."""
    out: list[Piece] = []
    low, has_low = MINUS_INFINITY, False
    for p in merged(of) or of:
        if not (low == p.low and is_infinite(low)):
            out.append(_piece(low, p.low, has_low, not p.has_low))
        low, has_low = p.high, not p.has_high
    if low != INFINITY:
        out.append(_piece(low, INFINITY, has_low, False))
    return tuple(out)


def _intersection(a: tuple[Piece, ...], b: tuple[Piece, ...]) -> tuple[Piece, ...] | None:
    """What two sets share; None where an end is not a number."""
    out: list[Piece] = []
    for p in a:
        for q in b:
            ends = [end_value(n) for n in (p.low, q.low, p.high, q.high)]
            if any(e is None for e in ends):
                return None
            shared = _shared(p, q, ends)
            if shared is not None:
                out.append(shared)
    return tuple(out)


def _shared(p: Piece, q: Piece, ends: list[Any]) -> Piece | None:
    """What two pieces share, if anything. ends: lows of both, then highs of both, as numbers."""
    p_low, q_low, p_high, q_high = ends
    later = p if p_low >= q_low else q
    has_low = later.has_low if p_low != q_low else p.has_low and q.has_low
    sooner = p if p_high <= q_high else q
    has_high = sooner.has_high if p_high != q_high else p.has_high and q.has_high
    low, high = max(p_low, q_low), min(p_high, q_high)
    if low < high or (low == high and has_low and has_high):
        return _piece(later.low, sooner.high, has_low, has_high)
    return None


@dataclass
class _Measured:
    """A piece with its ends as numbers."""

    low: Any
    high: Any
    piece: Piece

    @property
    def is_empty(self) -> bool:
        if self.low < self.high:
            return False
        closed = self.piece.has_low and self.piece.has_high
        return not closed or abs(self.low - self.high) > CLOSE * max(1, abs(self.low))

    def reaches(self, other: _Measured) -> bool:
        """Does it overlap or touch one that begins later?"""
        if other.low < self.high:
            return True
        return _touch(other.low, self.high) and (other.piece.has_low or self.piece.has_high)

    def extend(self, other: _Measured) -> None:
        """Take in one that it reaches."""
        level = _touch(other.high, self.high)
        if other.high > self.high or (level and other.piece.has_high):
            has_high = other.piece.has_high or (level and self.piece.has_high)
            self.piece = replace(self.piece, high=other.piece.high, has_high=has_high)
            self.high = other.high


def merged(of: tuple[Piece, ...]) -> tuple[Piece, ...] | None:
    """Sorted, overlapping and touching pieces joined; None where an end is not a number."""
    measured = [_Measured(end_value(p.low), end_value(p.high), p) for p in of]
    if any(m.low is None or m.high is None for m in measured):
        return None
    kept = [m for m in measured if not m.is_empty]
    out: list[_Measured] = []
    for m in sorted(kept, key=lambda m: (m.low, not m.piece.has_low)):
        if out and out[-1].reaches(m):
            out[-1].extend(m)
        else:
            out.append(m)
    return tuple(m.piece for m in out)


def integers_in(of: Pieces, *, from_one: bool = False) -> list[Node] | None:
    """The whole numbers in a set, in order; None when they are too many or an end is not a number.

    from_one: natural numbers only.
    """
    found: set[int] = set()
    for p in of.pieces:
        low, high = end_value(p.low), end_value(p.high)
        if low is None or high is None or high == mpmath.inf:
            return None
        if low == -mpmath.inf:
            if not from_one:
                return None
            low = mpmath.mpf(1)
        if high - low > MOST_INTEGERS:
            return None
        first = max(int(mpmath.ceil(low)), 1) if from_one else int(mpmath.ceil(low))
        for n in range(first, int(mpmath.floor(high)) + 1):
            at_low, at_high = _touch(mpmath.mpf(n), low), _touch(mpmath.mpf(n), high)
            open_low = at_low and not p.has_low and not is_infinite(p.low)
            if not open_low and (p.has_high or not at_high):
                found.add(n)
    return [number(n) for n in sorted(found)]


def _touch(a: Any, b: Any) -> bool:
    if a == b:
        return True
    finite = mpmath.isfinite(a) and mpmath.isfinite(b)
    return bool(finite and abs(a - b) <= CLOSE * max(1, abs(a)))
