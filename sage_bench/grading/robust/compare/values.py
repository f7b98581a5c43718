"""When two quantities are the same: units, percent, degrees, times of day."""

from __future__ import annotations

from fractions import Fraction

from sage_bench.grading.robust.compare.decimals import same_number
from sage_bench.grading.robust.compare.same import same
from sage_bench.grading.robust.read.forms import Clock, Value
from sage_bench.grading.robust.read.nodes import Kind, Node, negative, number, symbols
from sage_bench.grading.robust.read.numeric import Undefined, evaluate
from sage_bench.grading.robust.read.quantity import with_letter_unit
from sage_bench.grading.robust.text.units import Unit, agree

HALF_DAY = 12 * 3600  # seconds


def same_value(g: Value, a: Value) -> bool:
    """Equal expressions in compatible units.

    A unit that one side leaves out is not missed; percent may be 50, 0.5 or 50 %.
    """
    if (equal := _same_parts(g, a)) is not None:
        return equal
    if _is_other_unit(g.node, a.unit) or _is_other_unit(a.node, g.unit):
        return False
    if g.unit and a.unit:
        if not agree(g.unit, a.unit):
            return False
        unnamed = g.unit.is_unnamed or a.unit.is_unnamed
        if g.unit.size == a.unit.size or unnamed:
            return _percent(g.node, a.node)
        return _percent(_in_base_units(g.node, g.unit), _in_base_units(a.node, a.unit))
    if _percent(g.node, a.node):
        return True
    if (a.unit is None and _degrees(g, a)) or (g.unit is None and _degrees(a, g)):
        return True
    if a.unit is not None and symbols(g.node):
        named = with_letter_unit(g.node)
        if named and not symbols(named[0]) and agree(named[1], a.unit):
            return same_value(Value(*named), a)
    return _with_unit_in_letters(g, a)


def _with_unit_in_letters(g: Value, a: Value) -> bool:
    """ "5 m" for 5; a gold that names a unit by its letter wants it named."""
    if a.unit is not None or symbols(g.node):
        return False
    named = with_letter_unit(a.node)
    if named is None or symbols(named[0]):
        return False
    if g.unit is None:
        # 5 m for 5; but 5 M for 5 is more likely five times M
        return not _names_molar(a.node) and same_value(g, Value(*named))
    return agree(g.unit, named[1]) and same_value(g, Value(*named))


def _names_molar(node: Node) -> bool:
    return "M" in symbols(node)


def _is_other_unit(node: Node, unit: Unit | None) -> bool:
    """Is one side a percentage and the other in metres, dollars, ...?"""
    return node.kind is Kind.PCT and unit is not None and unit.known


def _same_parts(g: Value, a: Value) -> bool | None:
    """Percent, per mille, ppm and ppb: each is a number, and none is another's sign.

    None where neither is per mille, ppm or ppb: a percentage alone has more ways to be written.
    """
    if not any(v.unit is not None and v.unit.is_part for v in (g, a)):
        return None
    ours, theirs = _part_of_one(g), _part_of_one(a)
    if ours is not None and theirs is not None:
        return bool(same_number(ours, theirs))
    if g.unit is not None and a.unit is not None:
        return False  # 5 ppm and 5 metres
    if not (a.unit is not None and _is_share(g.node)) and same_number(g.node, a.node):
        return True  # a unit that one side leaves out is not missed
    return bool(same_number(ours or g.node, theirs or a.node))


def _part_of_one(value: Value) -> Node | None:
    """50 % as 0.5, 3 ppm as 0.000003; None for anything else."""
    if value.unit is not None:
        return _in_base_units(value.node, value.unit) if value.unit.is_part else None
    if value.node.kind is not Kind.PCT:
        return None
    return Node(Kind.MUL, (value.node.args[0], number(Fraction(1, 100))))


def _in_base_units(node: Node, unit: Unit) -> Node:
    return Node(Kind.MUL, (node, number(unit.size)))


def _degrees(one: Value, other: Value) -> bool:
    """`30°` against 30 or π/6; a degree sign is part of the expression, the word is a unit."""
    node, plain = one.node, other.node
    if node.kind is Kind.NEG and node.args[0].kind is Kind.DEG:
        node = Node(Kind.DEG, (negative(node.args[0].args[0]),))
    if node.kind is Kind.DEG:
        return bool(same_number(node.args[0], plain.args[0] if plain.kind is Kind.DEG else plain))
    if one.unit is not None and one.unit.dimensions == (("degree", 1),):
        return bool(same(Node(Kind.DEG, (node,)), plain))
    return False


def _percent(g: Node, a: Node) -> bool:
    """Equal, where either may be a percentage."""
    if g.kind is not Kind.PCT and a.kind is not Kind.PCT:
        return bool(same_number(g, a))
    if g.kind is a.kind:
        return bool(same_number(g.args[0], a.args[0]))
    if g.kind is Kind.PCT:
        shown = g.args[0]
        return bool(same_number(shown, a) or same_number(shown, _hundredfold(a)))
    shown = a.args[0]
    if not _is_share(g) and same_number(g, shown):
        return True
    return bool(same_number(_hundredfold(g), shown))


def _hundredfold(node: Node) -> Node:
    return Node(Kind.MUL, (number(100), node))


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
    full = halves.seconds % HALF_DAY + (HALF_DAY if halves.half == "pm" else 0)
    return plain.seconds in {full, halves.seconds}
