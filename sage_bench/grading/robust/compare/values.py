"""When two quantities are the same: units, percent, degrees, times of day."""

from __future__ import annotations

from sage_bench.grading.robust.read.forms import Clock, Value
from sage_bench.grading.robust.read.nodes import Node, number, symbols
from sage_bench.grading.robust.read.numeric import Undefined, evaluate
from sage_bench.grading.robust.read.quantity import with_letter_unit
from sage_bench.grading.robust.compare.same import same, same_number
from sage_bench.grading.robust.text.units import Unit, agree


def same_value(g: Value, a: Value) -> bool:
    """Equal expressions in compatible units. A unit that one side leaves out is not missed; percent
    may be 50, 0.5 or 50 %."""
    if _is_other_unit(g.node, a.unit) or _is_other_unit(a.node, g.unit):
        return False
    if g.unit and a.unit:
        if not agree(g.unit, a.unit):
            return False
        convert = g.unit.size != a.unit.size and not (g.unit.is_unnamed or a.unit.is_unnamed)
        return (
            _percent(_in_base_units(g), _in_base_units(a)) if convert else _percent(g.node, a.node)
        )
    if (
        _percent(g.node, a.node)
        or (a.unit is None and _degrees(g, a))
        or (g.unit is None and _degrees(a, g))
    ):
        return True
    if (
        a.unit is not None
        and symbols(g.node)
        and (named := with_letter_unit(g.node))
        and not symbols(named[0])
        and agree(named[1], a.unit)
    ):
        return same_value(Value(*named), a)
    said = with_letter_unit(
        a.node
    )  # "5 m" for 5; a gold that names a unit by its letter wants it named
    return bool(
        said
        and a.unit is None
        and not symbols(g.node)
        and not symbols(said[0])
        and (g.unit is None or agree(g.unit, said[1]))
        and same_value(g, Value(*said))
    )


def _is_other_unit(node: Node, unit: Unit | None) -> bool:
    """Is one side a percentage and the other in metres, dollars, ...?"""
    return node.op == "pct" and unit is not None and unit.known


def _in_base_units(v: Value) -> Node:
    return Node("mul", (v.node, number(v.unit.size))) if v.unit else v.node


def _degrees(one: Value, other: Value) -> bool:
    """`30°` against 30 or π/6; a degree sign is part of the expression, the word is a unit."""
    node = one.node
    if node.op == "neg" and node.args[0].op == "deg":
        node = Node("deg", (Node("neg", node.args[0].args),))
    if node.op == "deg":
        return bool(
            same_number(node.args[0], other.node.args[0] if other.node.op == "deg" else other.node)
        )
    if one.unit is not None and one.unit.dimensions == (("degree", 1),):
        return bool(same(Node("deg", (node,)), other.node))
    return False


def _percent(g: Node, a: Node) -> bool:
    p, q = g.op == "pct", a.op == "pct"
    if p == q:
        return bool(same_number(g.args[0], a.args[0]) if p else same_number(g, a))
    if p:
        return bool(
            same_number(g.args[0], a) or same_number(g.args[0], Node("mul", (number(100), a)))
        )
    return bool(
        (not _is_share(g) and same_number(g, a.args[0]))
        or same_number(Node("mul", (number(100), g)), a.args[0])
    )


def _is_share(node: Node) -> bool:
    """Between 0 and 1: without a percent sign it is a part of the whole, 0.15 is not 0.15 %."""
    try:
        return not symbols(node) and 0 < abs(evaluate(node, {})) < 1
    except Undefined:
        return False


def same_clock(g: Clock, a: Clock) -> bool:
    """The same time of day; a half that one side leaves out is not missed."""
    if g.half == a.half:
        return g.seconds == a.seconds
    if g.half and a.half:
        return False
    halves, plain = (g, a) if g.half else (a, g)
    full = halves.seconds % 43200 + (43200 if halves.half == "pm" else 0)
    return plain.seconds in {full, halves.seconds}
